//! Tests of the built-in models, of finding models, and of the files of the documentation.

use super::{CHARGE, HEAD, builtin_files, parse};
use crate::{
    PriceCatalog, PriceModel, builtin_models, find_builtin_model, regional_files, regional_models,
};

#[test]
fn every_shipped_file_is_accepted_and_bills_its_examples() {
    let mut models = 0;
    for (origin, text) in builtin_files() {
        let parsed = PriceModel::parse_all(text, origin).unwrap_or_else(|error| panic!("{error}"));
        let examples = parsed.iter().map(|model| model.examples().len()).sum::<usize>();
        assert!(examples > 0, "{origin} proves nothing");
        for model in &parsed {
            for example in model.examples() {
                example
                    .check_against(model)
                    .unwrap_or_else(|failure| panic!("{origin}: {failure}"));
            }
        }
        models += parsed.len();
    }
    assert_eq!(builtin_models().len(), models, "a file is missing in the program");
    assert_eq!(PriceCatalog::with_builtin_models().describe_overlaps(), [""; 0]);
    let mut ids: Vec<&str> = builtin_models().iter().map(PriceModel::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), models, "two files have a model of one id");
}

#[test]
fn printed_models_are_the_same_when_they_are_read_again() {
    for model in builtin_models() {
        let text = model.to_toml();
        let again = PriceModel::parse_all(&text, "printed").unwrap_or_else(|error| {
            panic!("{}: {error}", model.id());
        });
        assert_eq!(again.len(), 1);
        assert!(model.same_tariff(&again[0]), "{}", model.id());
        assert_eq!(again[0].to_toml(), text, "{}", model.id());
        for example in again[0].examples() {
            example.check_against(&again[0]).unwrap();
        }
    }
}

#[test]
fn what_makes_models_differ() {
    let model = parse(&format!("{HEAD}{CHARGE}"));
    let other = |from: &str, to: &str| parse(&format!("{HEAD}{CHARGE}").replace(from, to));
    assert!(model.same_tariff(&other("\n\n", "\n# a comment\n")));
    assert!(model.same_tariff(&other("\"0.02\"", "\"0.0200\"")));
    for (from, to) in [
        ("\"0.02\"", "\"0.03\""),
        ("name = \"cpu\"", "name = \"CPU\""),
        ("\"s\"", "\"ms\""),
        ("2025-08-01", "2025-08-02"),
        ("\"none\"", "\"line_up\""),
        ("\"none\"", "\"none\"\nmonth_days = 31"),
    ] {
        assert!(!model.same_tariff(&other(from, to)), "{from} -> {to}");
    }
    let digest = model.source_digest();
    assert_eq!(digest.len(), 64);
    assert_ne!(digest, other("\"0.02\"", "\"0.0200\"").source_digest(), "it is the text's");
}

#[test]
fn models_are_found_by_id_or_by_a_hint() {
    assert_eq!(find_builtin_model("per-cycle").unwrap().id(), "per-cycle");
    let error = find_builtin_model("per-cycel").unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("per-cycle"));
    let message = error.to_string();
    let expected = "there is no price model `per-cycel`: did you mean `per-cycle`?";
    assert!(message.starts_with(expected), "{message}");
    let error = find_builtin_model("gold").unwrap_err();
    assert!(error.nearest.is_none());
    assert!(error.to_string().contains(", per-cycle, "), "{error}");
}

#[test]
fn a_folder_takes_the_place_of_what_is_there_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.toml", &format!("{HEAD}{CHARGE}").replace("\"test\"", "\"per-cycle\""));
    write("b.toml", &format!("{HEAD}{CHARGE}"));
    write("notes.txt", "no model");
    let mut catalog = PriceCatalog::with_builtin_models();
    catalog.add_path(folder.path()).unwrap();
    assert_eq!(catalog.models().len(), builtin_models().len() + 1);
    assert_eq!(catalog.find_model("per-cycle").unwrap().name(), "Test");
    let [notice] = catalog.replacement_notices() else { panic!("one notice") };
    let file = folder.path().join("a.toml");
    let expected = format!(
        "per-cycle from {} takes the place of the one from pricing/per-cycle.toml",
        file.display()
    );
    assert_eq!(*notice, expected);
    write("c.toml", "id = 1");
    // The others are there all the same; what the broken file names is not, by any tariff.
    write("d.toml", "id = \"aws-lambda-x86\"\ncolour = 3\n");
    let mut catalog = PriceCatalog::with_builtin_models();
    catalog.add_path(folder.path()).unwrap();
    assert_eq!(catalog.models().len(), builtin_models().len());
    assert_eq!(catalog.find_model("test").unwrap().name(), "Test");
    let [_, first, second] = catalog.replacement_notices() else { panic!("three notices") };
    assert!(first.starts_with(&format!("{}:1:6: ", folder.path().join("c.toml").display())));
    assert!(second.ends_with("(this file is left out)"), "{second}");
    let error = catalog.find_model("aws-lambda-x86").unwrap_err().to_string();
    let begins = format!(
        "price model `aws-lambda-x86` cannot be used: {}:2:1: ",
        folder.path().join("d.toml").display()
    );
    assert!(error.starts_with(&begins), "{error}");
    let missing = catalog.add_path(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(missing.contains("missing: No such file"), "{missing}");
    std::fs::write(folder.path().join("c.toml"), [0xff, 0xfe]).unwrap();
    let binary = catalog.add_path(&folder.path().join("c.toml")).unwrap_err().to_string();
    assert!(binary.contains("c.toml:1:1: this is no text"), "{binary}");
}

const PAGE: &str = include_str!("../../../../docs/price-models.md");

/// Returns the TOML blocks of the page, in order.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Returns the block that contains that text.
fn block(with: &str) -> &'static str {
    let found: Vec<&str> = blocks().into_iter().filter(|block| block.contains(with)).collect();
    let [block] = found[..] else { panic!("{} blocks have {with}", found.len()) };
    block
}

#[test]
fn whole_files_of_the_documentation_are_accepted_and_bill_their_examples() {
    let files: Vec<&str> = blocks().into_iter().filter(|it| it.starts_with("id = ")).collect();
    assert_eq!(files.len(), 3, "two of the tutorial, one of the reference");
    let mut examples = 0;
    for file in files {
        for model in
            PriceModel::parse_all(file, "the page").unwrap_or_else(|it| panic!("{it}\n{file}"))
        {
            for example in model.examples() {
                example.check_against(&model).unwrap_or_else(|failure| panic!("{failure}"));
                examples += 1;
            }
        }
    }
    assert_eq!(examples, 2, "those of the tutorial");
}

#[test]
fn the_tutorial_quotes_what_the_program_says() {
    let files: Vec<&str> = blocks().into_iter().filter(|it| it.contains("\"nimbus\"")).collect();
    let [first, whole] = files[..] else { panic!("two steps") };
    let wrong = first.replace("grid = \"256 MiB\"", "grid = \"256 MiBs\"");
    let error = PriceModel::parse_all(&wrong, "nimbus.toml").unwrap_err();
    assert!(PAGE.contains(&format!("error: {error}\n")), "{error}");
    let model = parse(&whole.replace("above = \"5 GiB\"\n", ""));
    let failure = model.examples()[0].check_against(&model).unwrap_err().to_string();
    let (_, figures) = failure.split_once(" expects ").unwrap();
    assert!(PAGE.contains(&format!("expects {figures}\n")), "{failure}");
}

#[test]
fn parts_of_files_in_the_documentation_are_accepted_where_they_belong() {
    let head = block("id = \"example\"");
    let fallbacks = block("tried in the order of the file");
    parse(&format!("{HEAD}[[charge]]\nname = \"x\"\nprice = \"1\"\n{fallbacks}"));
    let input = block("ephemeral storage of the function");
    parse(&format!("{head}{input}"));
    let pool =
        block("name = \"compute units\"").replace("# ...", "meter = \"cpu_time\"\nunit = \"s\"");
    let model = parse(&format!("{HEAD}{pool}"));
    assert_eq!(model.pools()[0].tiers().len(), 2);
    let factor = "[[charge.factor]]\nmeter = \"requests\"\nunit = \"request\"\n";
    let months = block("name = \"plan\"")
        .replace("[[charge]]\nname = \"cpu\"", &format!("{factor}[[charge]]\nname = \"cpu\""))
        .replace(
            "[[charge]]\nname = \"duration\"",
            "[[charge.factor]]\nmeter = \"cpu_time\"\nunit = \"s\"\n[[charge]]\nname = \"duration\"",
        )
        .replace("name = \"cpu\"", "name = \"cpu\"\nunit = \"vCPU-s\"")
        .replace("duration\"\nprice", "duration\"\nunit = \"GB-s\"\nprice")
        .replace("name = \"duration\"", "name = \"duration\"\nunit = \"GB-s\"");
    let months = ["idle duration", "plan"].iter().fold(months, |text, name| {
        let charge = format!("[[charge]]\nname = \"{name}\"");
        let factor = "[[charge.factor]]\nmeter = \"memory_time\"\nunit = \"GB-s\"\n";
        text.replace(&charge, &format!("{factor}{charge}"))
    });
    assert_eq!(parse(&format!("{HEAD}{months}")).charges().len(), 5);
}

#[test]
fn the_example_of_the_reference_comes_out() {
    let head = block("id = \"example\"");
    let egress = "[[input]]\nname = \"egress\"\nkind = \"size\"\nabout = \"x\"\n\
                  [[input]]\nname = \"provisioned\"\nkind = \"switch\"\nabout = \"x\"\n";
    let requests = "[[charge]]\nname = \"requests\"\nprice = \"0.20\"\nper = 1_000_000\n\
                    free = \"1000000 requests\"\n[[charge.factor]]\nmeter = \"requests\"\n\
                    unit = \"request\"\n";
    let variant = block("[[variant]]").replace("without = [\"streaming\"]", "");
    let variant = variant.split("[[variant.charge]]").next().unwrap();
    let variant = variant.replace("requests = \"0.10\"", "requests = \"0.20\"");
    let example = block("# disputed");
    let text = format!("{head}{egress}{requests}{variant}{example}");
    let models = PriceModel::parse_all(&text, "the page").unwrap_or_else(|error| panic!("{error}"));
    let model = models.iter().find(|model| model.id() == "example-arm").unwrap();
    model.examples()[0].check_against(model).unwrap();
}

#[test]
fn every_regional_file_is_accepted_and_bills_its_examples() {
    let mut models = 0;
    for (origin, text) in regional_files() {
        let parsed = PriceModel::parse_all(text, origin).unwrap_or_else(|error| panic!("{error}"));
        for model in &parsed {
            let contract = model.contract().expect("a contract");
            let base = contract.base_ids().pop().expect("a model").trim_end_matches("-tier2");
            let region = contract.region().expect("a region");
            assert_eq!(model.id(), format!("{base}-{region}"), "{origin}");
            for example in model.examples() {
                example
                    .check_against(model)
                    .unwrap_or_else(|failure| panic!("{origin}: {failure}"));
            }
        }
        models += parsed.len();
    }
    assert_eq!(regional_models().len(), models, "a file is missing in the program");
    assert!(models > 150, "{models}");
    let known = |id: &str| builtin_models().iter().any(|model| model.id() == id);
    assert!(!regional_models().iter().any(|model| known(model.id())));
}

#[test]
fn regional_models_are_found_by_id_and_a_wrong_region_is_told() {
    let catalog = PriceCatalog::with_builtin_models();
    let listed = catalog.models().len();
    // Frankfurt: provisioned concurrency costs 0.0000050147 a GB-second.
    let frankfurt = catalog.find_model("aws-lambda-x86-eu-central-1").unwrap();
    let pool = frankfurt.pools().iter().find(|pool| pool.name() == "provisioned capacity").unwrap();
    assert_eq!(pool.tiers()[0].price.to_plain_string(), "0.0000050147");
    assert_eq!(catalog.models().len(), listed, "they are not among the models of `all`");
    let wrong = |id: &str| catalog.find_model(id).unwrap_err().to_string();
    let message = wrong("aws-lambda-x86-eu-centrl-1");
    let expected = "there is no price model `aws-lambda-x86-eu-centrl-1`: did you mean \
                    `aws-lambda-x86-eu-central-1`?";
    assert!(message.starts_with(expected), "{message}");
    // Mumbai is of tier 1 since 2024-11-15, 0.000024 a vCPU-second; Turin is of tier 2, 0.0000336.
    for (id, weight) in [("asia-south1", "0.000024"), ("europe-west12", "0.0000336")] {
        let run = catalog.find_model(&format!("google-cloud-run-{id}")).unwrap();
        let cpu = run.charges().find(|charge| charge.name() == "cpu time").unwrap();
        assert_eq!(cpu.list_rate().to_plain_string(), weight, "{id}");
    }
    let jobs = catalog.find_model("google-cloud-run-jobs-asia-south1").unwrap();
    assert_eq!(jobs.pools()[0].tiers()[0].price.to_plain_string(), "0.000018");
    let message = wrong("google-cloud-run-mars");
    assert!(message.contains("of `google-cloud-run` there are the regions "), "{message}");
    assert!(message.contains("europe-west3"), "{message}");
    assert!(wrong("aws-lambda-x86-2021").contains("did you mean `aws-lambda-x86-2020`?"));
    assert!(wrong("google-cloud-run-job").contains("did you mean `google-cloud-run-jobs`?"));
    assert!(wrong("aws-lambda-x68").contains("did you mean `aws-lambda-x86`"), "as before");
    // Whoever replaces a model has no regional prices over the one that was replaced.
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{HEAD}{CHARGE}").replace("\"test\"", "\"aws-lambda-x86\"");
    std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    let mut mine = PriceCatalog::with_builtin_models();
    mine.add_path(folder.path()).unwrap();
    assert!(mine.find_model("aws-lambda-x86-eu-central-1").is_err());
    assert!(mine.find_model("aws-lambda-arm-eu-central-1").is_ok());
}
