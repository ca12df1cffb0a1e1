//! The `pricing` commands as people use them.

use crate::common::{Place, Run};

/// Runs `pricing` with a config folder of its own.
fn pricing(place: &Place, args: &[&str]) -> Run {
    let mut command = place.command(&["pricing"]);
    command.args(args).env("XDG_CONFIG_HOME", place.path().join("config"));
    Run::of(&command.output().expect("the program starts"))
}

fn ok(place: &Place, args: &[&str]) -> Run {
    let run = pricing(place, args);
    assert_eq!(run.code, 0, "{args:?} failed: {}", run.stderr);
    run
}

/// A new model under that name, as a file.
fn model(place: &Place, id: &str, file: &str) -> String {
    let text = ok(place, &["new", id]).stdout;
    place.write(file, text).display().to_string()
}

#[test]
fn models_are_listed_as_a_table_as_json_and_as_csv() {
    let place = Place::new();
    let table = ok(&place, &["list"]);
    let row = table.stdout.lines().find(|line| line.starts_with("per-cycle ")).expect("a row");
    assert!(row.contains("fine") && row.contains("cycles"), "{row}");
    assert!(table.stderr.contains("`pricing show MODEL`"), "{}", table.stderr);

    let json = ok(&place, &["list", "--format", "json"]);
    assert!(json.stderr.is_empty(), "{}", json.stderr);
    let json = json.json();
    let rows = json.as_array().expect("a list");
    assert_eq!(rows.len(), cyclometer::pricing::builtin_models().len());
    let lambda = rows.iter().find(|row| row["model"] == "aws-lambda-x86").expect("it is shipped");
    assert_eq!(lambda["currency"], "USD");
    assert_eq!(lambda["rounding"], "line_half_up");
    assert_eq!(lambda["digest"].as_str().expect("text").len(), 64);

    let csv = ok(&place, &["list", "--format", "csv"]).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().expect("a header").clone();
    assert_eq!(headers.iter().take(2).collect::<Vec<_>>(), ["model", "effective_from"]);
    assert_eq!(reader.records().count(), rows.len());

    let fine = ok(&place, &["list", "--granularity", "fine", "--format", "json"]).json();
    let fine = fine.as_array().expect("a list");
    assert!(!fine.is_empty() && fine.len() < rows.len());
    assert!(fine.iter().all(|row| row["granularity"] == "fine"), "{fine:?}");
}

#[test]
fn a_model_is_shown_with_its_charges_its_text_and_what_it_comes_to() {
    let place = Place::new();
    let shown = ok(&place, &["show", "vercel-fluid"]).stdout;
    for part in
        ["Vercel Functions", "USD, hybrid, from ", "rounding line_half_up to 2", "uncertain: "]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let rows = ok(&place, &["show", "vercel-fluid", "--format", "json"]).json();
    assert_eq!(rows[0]["charge"], "active cpu");
    assert_eq!(rows[0]["price"], "0.128");
    let csv = ok(&place, &["show", "vercel-fluid", "--format", "csv"]).stdout;
    assert!(csv.starts_with("charge,basis,unit,"), "{csv}");

    let text = ok(&place, &["show", "vercel-fluid", "--text"]).stdout;
    let file = include_str!("../../pricing/vercel-fluid.toml");
    assert_eq!(text, file);
    // A variant has the file it is in, or what it comes to.
    let variant = ok(&place, &["show", "vercel-fluid-included", "--text"]).stdout;
    assert_eq!(variant, file);
    let resolved = ok(&place, &["show", "vercel-fluid-included", "--text", "--resolved"]).stdout;
    assert!(resolved.starts_with("id = \"vercel-fluid-included\"\n"), "{resolved}");
    assert!(!resolved.contains("[[variant"), "{resolved}");
    let path = place.write("resolved.toml", &resolved).display().to_string();
    let checked = ok(&place, &["check", &path, "--format", "json"]).json();
    assert_eq!(checked[0]["model"], "vercel-fluid-included");
    assert_eq!(checked[0]["fail"], 0);
}

#[test]
fn a_new_file_is_checked_used_and_never_written_over() {
    let place = Place::new();
    let path = place.path().join("mine.toml").display().to_string();
    let written = ok(&place, &["new", "my-cloud", "--file", &path]);
    assert!(written.stdout.is_empty());
    let folder = place.path().join("config/cyclometer/pricing").display().to_string();
    assert!(written.stderr.contains(&folder), "{}", written.stderr);
    let text = std::fs::read_to_string(&path).expect("written");
    assert_eq!(ok(&place, &["new", "my-cloud"]).stdout, text);

    let again = pricing(&place, &["new", "other", "--file", &path]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("mine.toml exists and is left alone"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&path).expect("there"), text);

    let checked = ok(&place, &["check", &path, "--format", "json"]);
    assert_eq!(checked.json()[0]["pass"], 1);
    assert!(checked.stderr.contains("1 models, 1 examples: 1 pass"), "{}", checked.stderr);
    let listed = ok(&place, &["--pricing", &path, "list", "--format", "json"]).json();
    let ids: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|row| row["model"].as_str()).collect();
    assert!(ids.contains(&"my-cloud"), "{ids:?}");

    let taken = ok(&place, &["new", "per-cycle"]);
    assert!(taken.stderr.contains("there is a `per-cycle` already"), "{}", taken.stderr);
    let bad = pricing(&place, &["new", "My Cloud"]);
    assert_eq!(bad.code, 2);
    assert!(bad.stderr.contains("an id has 1 to 64 characters"), "{}", bad.stderr);
}

#[test]
fn wrong_words_are_wrong_usage() {
    let place = Place::new();
    for (args, message) in [
        (&["list", "--granularity", "medium"][..], "use coarse, fine or hybrid"),
        (&["list", "--current=maybe"], "unexpected value"),
        (&["show", "per-cycel"], "did you mean `per-cycle`?"),
        (&["show"], "<MODEL>"),
        (&["show", "per-cycle", "--resolved"], "--text"),
        (&["schema", "--meter"], "--meters"),
        (&["new"], "<ID>"),
        (&["sow"], "show"),
        (&["list", "--format", "xml"], "table, json, csv"),
        (&["list", "--pricing", "/nowhere"], "cannot read /nowhere"),
    ] {
        let run = pricing(&place, args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(message), "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_broken_file_is_named_with_line_and_column() {
    let place = Place::new();
    let path = model(&place, "mine", "mine.toml");
    let text = std::fs::read_to_string(&path).expect("there");
    let line = text.lines().position(|line| line.contains("0.00002")).expect("the price") + 1;
    let broken = place.write("broken.toml", text.replace("\"0.00002\"", "0.00002"));
    let broken = broken.display().to_string();
    let run = pricing(&place, &["check", &broken]);
    assert_eq!(run.code, 1);
    let expected = format!("error: {broken}:{line}:9: invalid type: floating point");
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
    // Given as a model to use, it is a wrong argument, with the same place.
    let used = pricing(&place, &["list", "--pricing", &broken]);
    assert_eq!(used.code, 2);
    assert!(used.stderr.contains(&format!("{broken}:{line}:9: ")), "{}", used.stderr);
    // A wrong figure is a failure too, and the good file beside it is still checked.
    let wrong = place.write("wrong.toml", text.replace("\"4.65\"", "\"4.66\""));
    let run = pricing(&place, &["check", &wrong.display().to_string(), &path]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("expects the total to be 4.66, and the model gives 4.65"));
    assert!(
        run.stderr.contains("2 models, 2 examples: 1 pass, 0 disputed, 1 fail"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout.lines().count(), 3, "{}", run.stdout);
    let missing = pricing(&place, &["check", "/nowhere.toml"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("cannot read /nowhere.toml: No such file"),
        "{}",
        missing.stderr
    );
}

#[test]
fn examples_are_checked_one_by_one() {
    let place = Place::new();
    let path = model(&place, "mine", "mine.toml");
    let rows = ok(&place, &["check", &path, "--examples", "--format", "json"]).json();
    assert_eq!(rows[0]["result"], "passes");
    assert_eq!(rows[0]["source"], "https://example.com/pricing, example 1");
}

#[test]
fn models_of_ones_own_take_the_place_of_shipped_ones_and_say_so() {
    let place = Place::new();
    let kept = model(&place, "per-cycle", "config/cyclometer/pricing/kept.toml");
    let run = ok(&place, &["show", "per-cycle"]);
    let notice = format!(
        "note: per-cycle from {kept} takes the place of the one from pricing/per-cycle.toml"
    );
    assert!(run.stderr.contains(&notice), "{}", run.stderr);
    assert!(run.stdout.starts_with("A tariff to fill in (per-cycle)\n"), "{}", run.stdout);

    // What is given on the command line wins over what is kept.
    let folder = place.path().join("mine");
    let given = model(&place, "per-cycle", "mine/given.toml");
    let run = ok(&place, &["--pricing", &folder.display().to_string(), "show", "per-cycle"]);
    let second = format!("note: per-cycle from {given} takes the place of the one from {kept}");
    assert!(run.stderr.contains(&notice) && run.stderr.contains(&second), "{}", run.stderr);

    // A broken file in the config folder hides no other.
    let bad = place.write("config/cyclometer/pricing/bad.toml", "id = 1\n");
    let run = ok(&place, &["list"]);
    assert!(run.stderr.contains(&format!("{}:1:6: ", bad.display())), "{}", run.stderr);
    assert!(run.stdout.contains("aws-lambda-x86"), "{}", run.stdout);
    // What it names is not billed by another tariff of that id.
    place.write("config/cyclometer/pricing/bad.toml", "id = \"aws-lambda-x86\"\ncolour = 3\n");
    let run = pricing(&place, &["show", "aws-lambda-x86"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("cannot be used"), "{}", run.stderr);
}

#[test]
fn the_schema_is_json_and_the_meters_have_dimensions() {
    let place = Place::new();
    let schema = ok(&place, &["schema"]);
    assert_eq!(schema.stdout, include_str!("../../docs/price-model.schema.json"));
    let schema = schema.json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["required"].as_array().expect("a list").contains(&"charge".into()));
    let meters = ok(&place, &["schema", "--meters", "--format", "json"]).json();
    let meters = meters.as_array().expect("a list");
    // All meters, and requests.
    assert_eq!(meters.len(), cyclometer::meter::Meter::COUNT + 1);
    let cycles = meters.iter().find(|row| row["meter"] == "cycles").expect("a row");
    assert_eq!((&cycles["dimension"], &cycles["units"]), (&"cycles".into(), &"cycle".into()));
    let table = ok(&place, &["schema", "--meters"]).stdout;
    assert!(table.contains("memory_time") && table.contains("size_time"), "{table}");
}

/// An offer file of AWS, by the shape of its documentation: two prices and an unknown SKU.
const OFFER: &str = r#"{
  "formatVersion": "v1.0", "offerCode": "AWSLambda", "version": "20260919002359",
  "publicationDate": "2026-09-19T00:23:59Z",
  "products": {
    "A": {"sku": "A", "attributes": {"usagetype": "EUC1-Request", "regionCode": "eu-central-1"}},
    "B": {"sku": "B", "attributes": {"usagetype": "AFS1-Request", "regionCode": "af-south-1"}},
    "C": {"sku": "C", "attributes": {"usagetype": "AFS1-\u001b[2J", "regionCode": "af-south-1"}}
  },
  "terms": {"OnDemand": {
    "A": {"A.J": {"effectiveDate": "2026-09-01T00:00:00Z", "priceDimensions": {"A.J.6": {
      "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "0.0000003000"}}}}},
    "B": {"B.J": {"effectiveDate": "2026-09-01T00:00:00Z", "priceDimensions": {"B.J.6": {
      "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "0.0000002700"}}}}}
  }}
}"#;

#[test]
fn a_price_list_is_imported_checked_and_used() {
    let place = Place::new();
    let list = place.write("offer.json", OFFER).display().to_string();
    let folder = place.path().join("prices").display().to_string();

    let only_shown = ok(&place, &["import", "aws-offer", &list]);
    assert!(
        only_shown.stderr.contains("nothing was written: name a folder"),
        "{}",
        only_shown.stderr
    );
    assert!(!std::path::Path::new(&folder).exists());

    let args = ["import", "aws-offer", &list, "--folder", &folder, "--format", "json"];
    let imported = ok(&place, &args);
    let rows = imported.json();
    let contracts: Vec<&str> = rows
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["contract"].as_str())
        .collect();
    assert_eq!(contracts, ["aws-lambda-x86-af-south-1", "aws-lambda-x86-eu-central-1"]);
    let told = r"1 SKUs: 1 \x1b[2J";
    assert!(imported.stderr.contains(told), "{}", imported.stderr);

    let file = format!("{folder}/aws-lambda-x86-eu-central-1.toml");
    let checked = ok(&place, &["check", &file, "--format", "json"]).json();
    assert_eq!(checked[0]["model"], "aws-lambda-x86-eu-central-1");
    assert_eq!(checked[0]["fail"], 0);

    // 3 million requests of no time, 1 million free: 2 x 0.30, and shipped 2 x 0.20.
    let explain = |more: &[&str]| {
        let mut args = more.to_vec();
        args.extend(["explain", "aws-lambda-x86-eu-central-1", "--requests", "3000000"]);
        args.extend(["--set", "run=0ms", "--set", "memory_allocated=128MiB"]);
        ok(&place, &args).stdout
    };
    assert!(explain(&["--pricing", &folder]).contains("0.60"));
    let shipped = explain(&[]);
    assert!(shipped.contains("0.40") && shipped.contains("eu-central-1"), "{shipped}");

    let again = pricing(&place, &["import", "aws-offer", &list, "--folder", &folder]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("exists and is left alone, and nothing"), "{}", again.stderr);
    let region = pricing(&place, &["import", "aws-offer", &list, "--region", "eu-centrl-1"]);
    assert_eq!(region.code, 2);
    assert!(region.stderr.contains("did you mean `eu-central-1`?"), "{}", region.stderr);
    let other = pricing(&place, &["import", "google-skus", &list]);
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("it has no list `skus`"), "{}", other.stderr);
}

#[test]
fn regional_models_are_listed_apart_and_a_wrong_region_is_told() {
    let place = Place::new();
    let rows = ok(&place, &["list", "--regions", "--format", "json"]).json();
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), cyclometer::pricing::regional_models().len());
    let milan = rows.iter().find(|row| row["model"] == "aws-lambda-arm-eu-south-1").expect("it");
    assert_eq!(milan["extends"], "aws-lambda-arm");
    assert_eq!(milan["region"], "eu-south-1");
    let wrong = pricing(&place, &["show", "aws-lambda-x86-eu-centrl-1"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("did you mean `aws-lambda-x86-eu-central-1`?"),
        "{}",
        wrong.stderr
    );
}

/// A euro contract with a commitment, and what it extends in a file of its own.
const OURS: &str = "extends = \"nimbus\"\nid = \"ours\"\nname = \"Nimbus, our contract\"\n\
                    region = \"cloud-9\"\ndiscount = \"12 %\"\ntax = { rate = \"19 %\", name = \"VAT\" }\n\
                    [currency]\ncode = \"EUR\"\nrate = \"0.5\"\nper = \"USD\"\ndate = 2026-11-01\n\
                    source = \"a test\"\n";

#[test]
fn a_contract_is_checked_listed_shown_and_explained() {
    let place = Place::new();
    let base = model(&place, "nimbus", "prices/z-nimbus.toml");
    let ours = place.write("prices/ours.toml", OURS).display().to_string();
    let folder = place.path().join("prices").display().to_string();

    // The contract comes first, and what it extends after it.
    let checked = ok(&place, &["check", &ours, &base, "--format", "json"]);
    let rows = checked.json();
    let of_ours = rows.as_array().expect("rows").iter().find(|it| it["model"] == "ours");
    assert_eq!(of_ours.expect("a row")["set_aside"], 1, "{rows:#}");
    assert!(checked.stderr.contains("1 of models that a contract extends"), "{}", checked.stderr);
    let reasons = ok(&place, &["check", &ours, &base, "--examples", "--format", "json"]).json();
    let aside = reasons.as_array().expect("rows").iter().find(|it| it["result"] == "set aside");
    let reason = aside.expect("a row")["reason"].to_string();
    assert!(reason.contains("expects the total to be 4.65"), "{reason}");

    let with = |args: &[&str]| {
        let mut command = place.command(&["--pricing", &folder, "pricing"]);
        command.args(args).env("XDG_CONFIG_HOME", place.path().join("config"));
        let run = Run::of(&command.output().expect("the program starts"));
        assert_eq!(run.code, 0, "{args:?} failed: {}", run.stderr);
        run
    };
    let listed = with(&["list", "--format", "json"]).json();
    let row = listed.as_array().expect("rows").iter().find(|it| it["model"] == "ours");
    let row = row.expect("it is listed");
    assert_eq!((&row["extends"], &row["region"]), (&"nimbus".into(), &"cloud-9".into()));
    let table = with(&["list"]).stdout;
    assert!(table.contains("contract over"), "{table}");
    let shown = with(&["show", "ours"]).stdout;
    for part in ["contract over nimbus, region cloud-9", "on the bill of a period: VAT of 19 %"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(with(&["show", "ours", "--text"]).stdout, OURS);

    let usage = ["--requests", "1M", "--set", "run=1s", "--set", "memory_allocated=1GiB"];
    let explain = [&["explain", "ours", "--no-free"][..], &usage].concat();
    let text = with(&explain).stdout;
    for part in
        ["region cloud-9", "discount 12 %: x 0.88", "EUR per USD: x 0.5", "VAT  ", "19 % of"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = with(&[&explain[..], &["--format", "json"]].concat()).json();
    assert_eq!(json["model"]["contract"]["extends"][0], "nimbus");
    let lines = json["adjustments"].as_array().expect("lines");
    assert_eq!((&lines[0]["kind"], &lines[0]["rate"]), (&"tax".into(), &"0.19".into()));
    let csv = with(&[&explain[..], &["--format", "csv"]].concat()).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let last = reader.records().last().expect("a row").expect("valid");
    assert_eq!((&last[0], last.iter().rev().nth(1)), ("VAT", Some("tax")), "{csv}");
}

#[test]
fn a_new_contract_changes_nothing_until_it_is_told_to() {
    let place = Place::new();
    let new = ["new", "--contract", "ours", "--extends", "aws-lambda-x86"];
    let text = ok(&place, &new).stdout;
    assert!(text.contains("#discount = \"12 %\""), "{text}");
    let path = place.write("ours.toml", &text).display().to_string();
    let rows = ok(&place, &["check", &path, "--format", "json"]).json();
    assert_eq!((&rows[0]["model"], &rows[0]["set_aside"]), (&"ours".into(), &0.into()));
    // With one key switched on, examples are set aside.
    let on = text.replacen("#discount", "discount", 1);
    place.write("ours.toml", &on);
    let rows = ok(&place, &["check", &path, "--format", "json"]).json();
    assert!(rows[0]["set_aside"].as_u64() > Some(0), "{rows:#}");

    let bad = pricing(&place, &["new", "--contract", "ours", "--extends", "aws-lambda-x68"]);
    assert_eq!(bad.code, 2);
    assert!(bad.stderr.contains("did you mean `aws-lambda-x86`?"), "{}", bad.stderr);
    let alone = pricing(&place, &["new", "--contract", "ours"]);
    assert!(alone.code == 2 && alone.stderr.contains("--extends"), "{}", alone.stderr);
}

#[test]
fn contracts_that_cannot_be_used_say_where_and_why() {
    let place = Place::new();
    let own = OURS.replace("\"nimbus\"", "\"ours\"");
    let path = place.write("own.toml", own).display().to_string();
    let run = pricing(&place, &["check", &path]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("own.toml:1:11: `ours` cannot extend itself"), "{}", run.stderr);
    // A folder goes on without a contract whose model is missing.
    place.write("folder/ours.toml", OURS);
    let folder = place.path().join("folder").display().to_string();
    let mut command = place.command(&["--pricing", &folder, "pricing", "show", "ours"]);
    command.env("XDG_CONFIG_HOME", place.path().join("config"));
    let run = Run::of(&command.output().expect("the program starts"));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("there is no price model `nimbus`"), "{}", run.stderr);
}
