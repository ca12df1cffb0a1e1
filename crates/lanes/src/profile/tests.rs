//! Profiles as anyone may write them.

use std::collections::BTreeSet;

use super::*;

/// A complete profile, as short as possible.
const LEAST: &str = r#"
title = "Some runtime"
takes = "module"
install = "install it"
memory = "none"

[program]
names = ["some"]
version = ["--version"]
after = "some "

[cold]
args = ["run", "{module}", "{args...}"]
"#;

fn parse(text: &str) -> Result<Vec<Profile>, String> {
    let read = |name: &str| match name {
        "there.mjs" => Ok(b"script".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    resolve::parse_profiles("some", text, "some.toml", &read).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(message) => message,
    }
}

#[test]
fn every_shipped_profile_is_valid_and_says_what_to_do() {
    let catalog = ProfileCatalog::builtin();
    assert_eq!(catalog.notices(), [""; 0]);
    let names: BTreeSet<&str> = catalog.iter().map(|profile| &*profile.name).collect();
    for name in [
        "wasmtime-cli",
        "wasmer",
        "wasmer:singlepass",
        "wasmer:llvm",
        "wasmi",
        "wasm3",
        "wamr",
        "wamr:aot",
        "wasmedge",
        "wasmedge:aot",
        "wavm",
        "node",
        "deno",
        "bun",
        "podman",
        "crun",
        "youki",
        "runsc",
        "firecracker",
        "qemu",
    ] {
        assert!(names.contains(name), "{name} is missing");
    }
    for profile in catalog.iter() {
        assert!(profile.install.len() > 10, "{}: what to do?", profile.name);
        assert!(profile.homepage.is_some() && profile.note.is_some(), "{}", profile.name);
        let container = profile.takes == AcceptedForm::Bundle;
        assert_eq!(container, profile.cleanup.is_some(), "{}: who cleans up?", profile.name);
    }
}

#[test]
fn variants_take_the_rest_from_their_runtime() {
    let text = format!(
        "{LEAST}\n[compile]\nargs = [\"c\", \"{{module}}\", \"{{artifact}}\"]\n\
         [variant.aot]\nnote = \"compiled\"\ncold = {{ args = [\"{{artifact}}\", \"{{args...}}\"] }}\n\
         [[variant.aot.known_failure]]\nworkload = \"nop\"\nreason = \"so it is\"\n"
    );
    let profiles = parse(&text).expect("valid");
    let [base, aot] = &profiles[..] else { panic!("{profiles:?}") };
    assert_eq!((&*base.name, &*aot.name, aot.base_name()), ("some", "some:aot", "some"));
    assert!(base.compile.is_none(), "it runs the module itself");
    let compile = aot.compile.as_ref().expect("it runs what is compiled");
    assert_eq!((&*compile.extension, compile.timeout), ("compiled", Nanos(120_000_000_000)));
    assert_eq!(aot.program, base.program);
    assert_eq!(
        aot.find_known_failure("nop", "anything").map(|known| &*known.reason),
        Some("so it is")
    );
    assert_eq!(aot.find_known_failure("nbody", "anything"), None);
    assert_eq!(base.find_known_failure("nop", "anything"), None);
    assert_eq!(base.program_variable(), "CYCLOMETER_RUNTIME_SOME");
    assert_eq!(aot.program_variable(), "CYCLOMETER_RUNTIME_SOME");
}

#[test]
fn mistakes_in_one_line_are_placed_and_told() {
    for (from, to, expected) in [
        ("title", "titel", "some.toml:2:1: unknown field `titel`: did you mean `title`?"),
        (
            "\"module\"",
            "\"modul\"",
            "some.toml:3:9: unknown variant `modul`: did you mean `module`?",
        ),
        ("\"none\"", "\"nobody\"", "some.toml:5:10: unknown variant `nobody`"),
        (
            "{module}",
            "{modul}",
            "some.toml:13:16: unknown placeholder `{modul}`; did you mean `module`?",
        ),
        ("{module}", "{file}", "unknown placeholder `{file}`"),
        ("{module}", "{artifact}", "`{artifact}` is what [compile] makes, and there is none"),
        ("{module}", "{script}", "what is to be run is missing: `{module}` or `{artifact}`"),
        (
            "\"{module}\"",
            "\"{module}\", \"{script}\"",
            "`{script}` is the file that `script` names",
        ),
        (
            "\"{module}\"",
            "\"{module}\", \"{config}\"",
            "`{config}` is the file that `config` holds",
        ),
        ("[program]", "allowance = \"1KiB\"\n[program]", "an allowance is 1.00 MiB to 64.0 GiB"),
        ("[program]", "allowance = \"much\"\n[program]", "`much` is no size: write 128MiB or 1GB"),
        (", \"{args...}\"", "", "the function's arguments are missing: `{args...}`"),
        ("{args...}\"", "{args...}\", \"{args...}\"", "`{args...}` is there twice"),
        ("\"{args...}\"", "\"--args={args...}\"", "an argument of its own"),
        ("\"some\"]", "\"bin/some\"]", "some.toml:8:10: a program is a plain name"),
        ("\"some\"]", "\"\"]", "a program is a plain name"),
        ("[\"some\"]", "[]", "at least one program is needed"),
        ("\"none\"", "\"option\"", "some.toml:5:10: `option` says that an argument limits memory"),
        ("install it", "\\u001b[2J", "some.toml:4:11: a control character"),
        ("\"install it\"", "3", "some.toml:4:11: invalid type"),
        ("[cold]", "[colt]", "unknown field `colt`: did you mean `cold`?"),
        ("after", "least = \"x\"\nafter", "a version starts with a digit"),
        ("[program]", "script = \"../secret\"\n[program]", "the name of a file beside the profile"),
        ("[program]", "script = \".hidden\"\n[program]", "the name of a file beside the profile"),
        (
            "[program]",
            "script = \"none.mjs\"\n[program]",
            "cannot read `none.mjs` beside the profile",
        ),
        ("[cold]", "[footprint]\nfiles = [\"a\"]\n[cold]", "an absolute path is needed"),
        ("[cold]", "[environment]\n\"A=B\" = \"x\"\n[cold]", "a variable's name is letters"),
        ("[cold]", "[trap]\nstatus = 0\n[cold]", "an exit status is from 1 to 255"),
        ("[cold]", "[trap]\n[cold]", "say by which `status` or which text"),
        (
            "[cold]",
            "[compile]\nargs = [\"{module}\", \"{artifact}\"]\n[cold]",
            "no command line uses `{artifact}`",
        ),
        ("[cold]", "[variant.\"A b\"]\n[cold]", "cannot be a lane's name"),
        (
            "[cold]",
            "[[need]]\nname = \"module\"\nwhat = \"x\"\ninstall = \"x\"\n[cold]",
            "not one that there is",
        ),
    ] {
        assert!(LEAST.contains(from), "{from:?} is not in the profile");
        let message = refused(&LEAST.replacen(from, to, 1));
        assert!(message.contains(expected), "{to:?} gave {message:?}");
    }
}

#[test]
fn what_takes_what_has_its_own_placeholders() {
    let bundle = LEAST.replace("\"module\"", "\"bundle\"").replace("{module}", "{bundle}");
    assert!(parse(&bundle).is_ok());
    assert!(parse(&bundle.replace(", \"{args...}\"", "")).is_ok(), "they are in config.json");
    let both = bundle.replace("\"{args...}\"", "\"{options...}\", \"x\", \"{command...}\"");
    assert!(parse(&both).is_ok(), "as podman has it");
    for broken in [
        both.replace("\"{options...}\", ", ""),
        both.replace("\"{command...}\"", "\"{args...}\""),
        both.replace("\"x\"", "\"{command...}\""),
        both.replace("\"x\"", "\"{args...}\""),
    ] {
        assert!(refused(&broken).contains("belong together"), "{broken}");
    }
    let joined = both.replace("{options...}", "--{options...}");
    assert!(refused(&joined).contains("`{options...}` must be an argument of its own"));
    assert!(refused(&LEAST.replace("{args...}", "{command...}")).contains("unknown placeholder"));
    let machine = LEAST.replace("\"module\"", "\"machine\"").replace("{module}", "{initramfs}");
    assert!(refused(&machine).contains("the function's arguments are inside"));
    let machine = machine.replace(", \"{args...}\"", "");
    assert!(parse(&machine).is_ok());
    let compile = "[compile]\nargs = [\"{module}\", \"{artifact}\"]\n[cold]";
    let program = LEAST.replace("\"module\"", "\"program\"").replace("{module}", "{file}");
    assert!(refused(&program.replace("[cold]", compile)).contains("no command line uses"));
    let needs = "[[need]]\nname = \"kernel\"\nwhat = \"a kernel\"\ninstall = \"x\"\n[cold]";
    let needs = machine.replace("[cold]", needs).replace("\"run\"", "\"{kernel}\"");
    let profiles = parse(&needs).expect("valid");
    assert_eq!(profiles[0].need_variable(&profiles[0].needs[0]), "CYCLOMETER_RUNTIME_SOME_KERNEL");
}

#[test]
fn names_of_lanes_that_there_are_cannot_be_taken() {
    let read = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    for name in ["native", "wasmtime", "docker", "", "A", "a b", "a:b", "a/../b", &"x".repeat(33)] {
        assert!(resolve::parse_profiles(name, LEAST, "x.toml", &read).is_err(), "{name}");
    }
}

#[test]
fn a_broken_file_is_told_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    write("mine.toml", LEAST);
    write("wasmer.toml", LEAST);
    write("broken.toml", "title = 3");
    write("huge.toml", &format!("{LEAST}\n#{}", "x".repeat(70_000)));
    std::fs::write(folder.path().join("bytes.toml"), b"\xff\xfe").expect("written");
    write("readme.txt", "no profile");
    let mut catalog = ProfileCatalog::builtin();
    catalog.add_path(folder.path()).expect("the folder is there");
    assert!(catalog.get("mine").is_some());
    assert_eq!(catalog.get("wasmer").map(|it| &*it.title), Some("Some runtime"));
    assert!(catalog.get("wasmer:singlepass").is_none(), "its variants went with it");
    let notices = catalog.notices().join("\n");
    for expected in [
        "broken.toml:1:9: invalid type",
        "huge.toml: it is larger than 64.0 KiB",
        "bytes.toml: it is no text",
        "wasmer from",
    ] {
        assert!(notices.contains(expected), "{expected:?} is not in {notices}");
    }
    let missing = catalog.add_path(&folder.path().join("none")).expect_err("not there").to_string();
    assert!(missing.contains("--runtimes takes a folder"), "{missing}");
}

#[test]
fn garbage_is_refused_and_never_more_than_that() {
    // Every prefix and every line left out: an error or a profile, no panic.
    for length in 0..LEAST.len() {
        let _ = parse(&LEAST[..length]);
    }
    let lines: Vec<&str> = LEAST.lines().collect();
    for left_out in 0..lines.len() {
        let mut rest = lines.clone();
        rest.remove(left_out);
        let _ = parse(&rest.join("\n"));
    }
    let long = LEAST.replace("install it", &"y".repeat(5000));
    assert!(refused(&long).contains("longer than 4096 bytes"));
    let many: Vec<String> = (0..20).map(|n| format!("[variant.v{n}]\n")).collect();
    assert!(refused(&format!("{LEAST}\n{}", many.concat())).contains("more than 16 variants"));
}

#[test]
fn every_example_of_the_documentation_is_a_profile() {
    let text = include_str!("../../../../docs/runtimes.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        if let Err(message) = parse(example) {
            panic!("{message}\n{example}");
        }
    }
    // Every key that exists is documented.
    for key in [
        "title",
        "homepage",
        "note",
        "takes",
        "install",
        "memory",
        "names",
        "version",
        "after",
        "least",
        "environment",
        "script",
        "config",
        "sees",
        "outside",
        "footprint",
        "need",
        "what",
        "path",
        "compile",
        "args",
        "extension",
        "timeout",
        "cold",
        "warm",
        "cleanup",
        "trap",
        "status",
        "stderr",
        "known_failure",
        "workload",
        "contains",
        "reason",
        "variant",
    ] {
        assert!(text.contains(key), "{key} is not documented");
    }
    for profile in ProfileCatalog::builtin().iter() {
        assert!(
            text.contains(&format!("`{}`", profile.base_name())),
            "{} is not listed",
            profile.name
        );
    }
}
