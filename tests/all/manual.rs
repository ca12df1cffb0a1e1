//! What shells and manuals are told of the command line.

use crate::common::Place;

#[test]
fn every_shell_learns_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]).stdout;
        for command in ["record", "replay", "pricing", "history", "query", "doctor", "live"] {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        assert!(script.contains("until-stopped"), "{shell} does not know options");
        assert!(!script.contains("__worker"), "{shell} knows what is hidden");
    }
    assert_eq!(place.run(&["completions", "csh"]).code, 2);
}

#[test]
fn bash_completes_what_it_was_told() {
    let place = Place::new();
    let script = place.write("c.bash", place.ok(&["completions", "bash"]).stdout);
    let ask = "source \"$1\"; COMP_WORDS=(cyclometer pricing ex); COMP_CWORD=2; \
               _cyclometer cyclometer ex pricing; echo \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash").args(["-c", ask, "bash"]).arg(&script).output();
    let Ok(output) = output else { return cyclometer_testkit::skip("no bash") };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "explain");
}

#[test]
fn the_manual_has_a_page_and_pages() {
    let place = Place::new();
    let page = place.ok(&["man"]).stdout;
    assert!(page.contains(".TH cyclometer 1") && page.contains("cyclometer\\-record(1)"), "{page}");
    let folder = place.path().join("man");
    let run = place.ok(&["man", "--into", folder.to_str().expect("text")]);
    assert!(run.stdout.is_empty());
    for name in ["cyclometer.1", "cyclometer-record.1", "cyclometer-pricing-explain.1"] {
        let text = std::fs::read_to_string(folder.join(name)).expect(name);
        assert!(text.contains(".SH SYNOPSIS"), "{name}");
    }
    let run = place.run(&["man", "--into", "/proc/no/such"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("cannot write manual pages into /proc/no/such"), "{}", run.stderr);
}
