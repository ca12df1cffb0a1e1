//! Tests with responses as engines give them, as they might be, and with damaged ones.

use super::*;
use proptest::prelude::*;

/// Responses of a Docker engine 20.10, shortened.
const REAL: [&str; 9] = [
    r#"{"Platform":{"Name":""},"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}"#,
    r#"{"ID":"x","Containers":1,"Driver":"overlay2","CgroupDriver":"cgroupfs","CgroupVersion":"1","SwapLimit":true,"KernelVersion":"6.1.0","Name":"host","ServerVersion":"20.10.24","DefaultRuntime":"runc","DockerRootDir":"/var/lib/docker","Runtimes":{"runc":{"path":"runc"},"runsc":{"path":"/usr/bin/runsc","runtimeArgs":["--platform=kvm"]}}}"#,
    r#"[{"Id":"8dfafdbc3a40","Names":["/boring_feynman"],"Image":"cyclometer/nop:1","ImageID":"sha256:0a1b","Labels":{"cyclometer.owner":"1-2-boot","cyclometer.host":"here","other":"x"},"State":"exited"}]"#,
    r#"[{"Id":"sha256:0a1b","RepoTags":["cyclometer/nop:0123456789ab"],"Labels":{"cyclometer.base":"","cyclometer.host":"here"},"Created":1700000000,"Size":690000}]"#,
    r#"{"Id":"sha256:0a1b","Size":690000,"Architecture":"amd64","Os":"linux","Config":{"User":"app","Env":["PATH=/bin"],"Cmd":["sh"],"Entrypoint":null,"WorkingDir":"","Volumes":{"/data":{}},"Labels":null}}"#,
    r#"[{"Id":"a","Size":5},{"Id":"b","Size":0},{"Id":"c","Size":7}]"#,
    r#"{"Name":"/c1","State":{"OOMKilled":true,"StartedAt":"2026-11-21T15:24:13.455688535Z","FinishedAt":"0001-01-01T00:00:00Z"}}"#,
    r#"{"ID":"x","Running":false,"ExitCode":137}"#,
    r#"{"Type":"container","Action":"start","Actor":{"ID":"x","Attributes":{"image":"i","name":"c1"}},"time":1,"timeNano":5}"#,
];

/// Passes the bytes to every parser, none of which may panic.
fn parse_as_everything(bytes: &[u8]) {
    let _ = parse_version(bytes);
    let _ = parse_info(bytes);
    let _ = parse_containers(bytes);
    let _ = parse_images(bytes);
    let _ = parse_inspected_image("me/fn", bytes);
    let _ = parse_layer_sizes(bytes);
    let _ = parse_container_state(bytes, "c1");
    let _ = parse_command_state(bytes);
    let _ = parse_event(bytes);
    let _ = parse_pull_line(bytes);
    let _ = parse_starter_report(bytes, [7; 16]);
    assert!(parse_error_message(bytes).chars().count() <= MOST_TEXT + 1);
    let text = String::from_utf8_lossy(bytes);
    let _ = (parse_timestamp(&text), is_path_safe_id(&text), sanitize_engine_text(&text));
}

#[test]
fn real_answers_are_read() {
    let [version, info, containers, images, image, layers, state, command, event] =
        REAL.map(str::as_bytes);
    assert_eq!(parse_version(version), Ok(EngineVersion { interface: (1, 41) }));
    let facts = parse_info(info).expect("facts");
    assert_eq!(facts.runtimes["runsc"], "/usr/bin/runsc");
    assert_eq!((facts.limits_swap, facts.cgroup_version.as_deref()), (Some(true), Some("1")));
    let listed = parse_containers(containers).expect("a list");
    assert_eq!(listed[0].name.as_deref(), Some("boring_feynman"));
    assert_eq!(listed[0].labels.host.as_deref(), Some("here"));
    let listed = parse_images(images).expect("a list");
    assert_eq!((listed[0].size, listed[0].created), (Some(Bytes(690_000)), 1_700_000_000));
    assert_eq!(listed[0].labels.base.as_deref(), Some(""));
    let found = parse_inspected_image("me/fn", image).expect("an image");
    assert_eq!(
        (found.id.as_str(), found.config.volumes),
        ("sha256:0a1b", vec!["/data".to_owned()])
    );
    // From the lowest up, which is the last that the engine names.
    assert_eq!(parse_layer_sizes(layers), Ok(vec![Bytes(7), Bytes(5)]));
    let stated = parse_container_state(state, "c1").expect("a state");
    // date -u -d '2026-11-21 15:24:13' +%s gives 1795274653.
    assert_eq!(stated.started, Some(Nanos(1_795_274_653_455_688_535)));
    assert_eq!((stated.out_of_memory, stated.finished), (Some(true), None));
    let ended = CommandState { running: Some(false), exit_code: Some(137) };
    assert_eq!(parse_command_state(command), Ok(ended));
    let event = parse_event(event).expect("an event");
    assert_eq!((event.container.as_str(), event.at), ("c1", Nanos(5)));
    assert_eq!(
        parse_error_message(br#"{"message":"no\u001b[2J such\nthing"}"#),
        "no\\x1b[2J such thing"
    );
    assert_eq!(parse_error_message(b"plain"), "plain");
}

#[test]
fn what_cannot_be_is_not_believed() {
    let layers = br#"[{"Size":9223372036854775807},{"Size":-1},{"Size":null},{"Size":3}]"#;
    assert_eq!(parse_layer_sizes(layers), Ok(vec![Bytes(3)]));
    assert!(parse_layer_sizes(br#"[{"Size":1e99}]"#).is_err());
    let other = parse_container_state(REAL[6].as_bytes(), "c2").expect_err("of another container");
    assert!(other.to_string().contains("`/c1` instead of c2"), "{other}");
    for version in ["", ".", "1", "1.", "-1.2", "1.2.3", "99999.1", "1e3.1", "a.b"] {
        let answer = format!("{{\"ApiVersion\":\"{version}\"}}");
        assert!(parse_version(answer.as_bytes()).is_err(), "{version}");
    }
    let ids = r#"[{"Id":"../x"},{"Id":""},{"Id":null},{},{"Id":"a/b"},{"Id":"a?b"},{"Id":"ok"}]"#;
    let listed = parse_containers(ids.as_bytes()).expect("a list");
    assert_eq!(listed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["ok"]);
    assert!(parse_inspected_image("me/fn", br#"{"Id":"../../x"}"#).is_err());
    assert_eq!(parse_containers(b"null").map(|it| it.len()), Ok(0));
}

#[test]
fn lists_and_texts_end() {
    let crowd = format!("[{}{{}}]", "{},".repeat(MOST_ENTRIES));
    let error = parse_containers(crowd.as_bytes()).expect_err("too many");
    assert!(error.to_string().contains("more than 20000 entries"), "{error}");
    let names: Vec<_> = (0..=MOST_ENTRIES).map(|n| format!("\"{n}\":{{}}")).collect();
    let info = format!("{{\"Runtimes\":{{{}}}}}", names.join(","));
    assert!(parse_info(info.as_bytes()).is_err());
    assert!(parse_info(&vec![b' '; MOST_ANSWER + 1]).is_err());
    assert!(parse_info("[".repeat(100_000).as_bytes()).is_err());
    assert_eq!(sanitize_engine_text(&"ä".repeat(5000)).chars().count(), MOST_TEXT + 1);
    assert_eq!(sanitize_engine_text("a\n\u{1b}[31m b"), "a \\x1b[31m b");
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_as_everything(&bytes);
    }

    #[test]
    fn real_answers_with_damage_do_no_harm(
        which in 0..REAL.len(),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        end in any::<usize>(),
        insert in prop::sample::select(vec![
            "-", "1e999", "\0", "null", "\"", "99999999999999999999", "{", "\\u0000",
        ]),
    ) {
        let mut bytes = REAL[which].as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let at = end % (bytes.len() + 1);
        parse_as_everything(&bytes[..at]);
        bytes.splice(at..at, insert.bytes());
        parse_as_everything(&bytes);
    }
}
