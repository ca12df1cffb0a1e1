//! Tests of contracts: bills by hand, what is refused and how, and contracts over each other.

use std::sync::Arc;

use crate::contract::AdjustmentKind;
use crate::{
    Exact, Money, PriceCatalog, PriceModel, Subtotal, Terms, UsageBuilder, find_builtin_model,
};

/// Contracts whose examples are bills by hand or of a published source.
pub(crate) const CONFORMANCE: &[(&str, &str)] = &[
    ("savings-plan.toml", include_str!("conformance/savings-plan.toml")),
    ("cloud-run-cud.toml", include_str!("conformance/cloud-run-cud.toml")),
    ("regions.toml", include_str!("conformance/regions.toml")),
    ("euro-vat.toml", include_str!("conformance/euro-vat.toml")),
    ("edp.toml", include_str!("conformance/edp.toml")),
    ("edp-credit-allowance.toml", include_str!("conformance/edp-credit-allowance.toml")),
    ("used-allowance.toml", include_str!("conformance/used-allowance.toml")),
    ("minimum.toml", include_str!("conformance/minimum.toml")),
    ("month-730.toml", include_str!("conformance/month-730.toml")),
];

const HEAD: &str = "extends = \"aws-lambda-x86\"\nid = \"mine\"\nname = \"Mine\"\n";

fn contract(rest: &str) -> PriceModel {
    PriceModel::parse_first(&format!("{HEAD}{rest}"), "mine.toml")
        .unwrap_or_else(|error| panic!("{error}"))
}

fn complaint(rest: &str) -> String {
    complaint_about(&format!("{HEAD}{rest}"))
}

fn complaint_about(text: &str) -> String {
    match PriceModel::parse_first(text, "mine.toml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn exact(text: &str) -> Exact {
    text.parse().unwrap()
}

/// Three million requests of 120 ms at 1536 MB: 540,000 GB-s.
fn settle_page_example(model: &PriceModel) -> crate::Settlement {
    let mut given = UsageBuilder::new(model, Terms::for_model(model));
    for (name, value) in [("requests", "3M"), ("run", "120 ms"), ("memory_allocated", "1536 MiB")] {
        given.set_value(name, Some(value)).unwrap();
    }
    let (group, _) = given.build_group().unwrap();
    let subtotals = model.charge_subtotals(&[group], &Terms::for_model(model)).unwrap();
    model.settle(&subtotals, &Terms::for_model(model), model.rounding())
}

#[test]
fn bills_by_hand_come_out() {
    let mut count = 0;
    for (origin, text) in CONFORMANCE {
        let models = PriceModel::parse_all(text, origin).unwrap_or_else(|error| panic!("{error}"));
        for model in &models {
            for example in model.examples() {
                example.check_against(model).unwrap_or_else(|error| panic!("{origin}: {error}"));
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn a_contract_that_changes_nothing_is_the_model() {
    let mine = contract("");
    let base = find_builtin_model("aws-lambda-x86").unwrap();
    assert_eq!((mine.pools(), mine.currency()), (base.pools(), base.currency()));
    assert!(mine.charges().eq(base.charges()));
    let (held, aside) = mine.inherited_examples();
    assert_eq!(aside.len(), 0);
    let own = base.examples().iter().filter(|it| it.dispute_reason().is_none()).count();
    assert_eq!(held, own);
    assert_eq!(settle_page_example(&mine).total.to_plain_string(), "2.73");
}

#[test]
fn prices_of_single_invocations_follow() {
    let mine = contract(
        "discount = \"12 %\"\n[currency]\ncode = \"EUR\"\nrate = \"0.5\"\nper = \"USD\"\n\
         date = 2026-11-01\nsource = \"a test\"\n",
    );
    let charge = mine.charges().find(|it| it.name() == "duration").unwrap();
    // 0.0000166667 x 0.88 x 0.5
    assert_eq!(*charge.list_rate(), exact("0.000007333348"));
    assert_eq!(mine.currency(), "EUR");
    let pool = mine.contract().unwrap().price_steps(charge.pool_index());
    let shown: Vec<String> =
        pool.iter().map(|it| format!("{}: {} {}", it.name, it.price, it.currency)).collect();
    assert_eq!(shown, ["discount 12 %: 0.000014666696 USD", "EUR per USD: 0.000007333348 EUR"]);
}

#[test]
fn examples_that_no_longer_hold_are_set_aside_with_the_reason() {
    let mine = contract("discount = \"12 %\"\n");
    let (held, aside) = mine.inherited_examples();
    let reason = aside
        .iter()
        .find(|it| it.example.name().contains("3 million times 120 ms"))
        .map(|it| it.failure.to_string())
        .unwrap();
    assert!(reason.contains("expects the total to be 2.73, and the model gives 2.40"), "{reason}");
    // Quantities are those of the model.
    assert!(held > 0);
    assert_eq!(mine.examples().len(), 0);
}

#[test]
fn each_step_is_a_line_and_the_lines_add_up() {
    let mine = contract(
        "minimum = \"25\"\ncredit = \"5\"\ntax = \"19 %\"\n[commitment]\nper_hour = \"0.01\"\n\
         discounts = { duration = \"17 %\" }\n",
    );
    let bill = settle_page_example(&mine);
    let lines: Vec<(AdjustmentKind, String, String)> = bill
        .adjustments
        .iter()
        .map(|it| (it.kind, it.name.to_string(), it.rounded.to_plain_string()))
        .collect();
    // 720 h: 2.333338 x 0.83 = 1.93667... of 7.20 are used, and 5.26 not.
    // 2.33 + 0.40 - 2.33 + 1.94 + 5.26 = 7.60; to 25 17.40; - 5 = 20; 19 % are 3.80
    let expected = [
        (AdjustmentKind::Covered, "commitment: duration covered", "-2.33"),
        (AdjustmentKind::CommitmentUsed, "commitment: used", "1.94"),
        (AdjustmentKind::CommitmentUnused, "commitment: unused", "5.26"),
        (AdjustmentKind::Minimum, "minimum", "17.4"),
        (AdjustmentKind::Credit, "credit", "-5"),
        (AdjustmentKind::Tax, "tax", "3.8"),
    ];
    let expected: Vec<_> =
        expected.map(|(kind, name, amount)| (kind, name.to_owned(), amount.to_owned())).into();
    assert_eq!(lines, expected);
    assert_eq!(bill.subtotal.to_plain_string(), "2.73");
    assert_eq!(bill.total.to_plain_string(), "23.8");
    let sum = bill
        .adjustments
        .iter()
        .fold(bill.subtotal.as_exact().clone(), |sum, it| &sum + it.rounded.as_exact());
    assert_eq!(sum, *bill.total.as_exact());
    let exact_sum: Exact = bill
        .positions
        .iter()
        .map(|it| &it.amount)
        .chain(bill.adjustments.iter().map(|it| &it.amount))
        .fold(Exact::default(), |sum, it| &sum + it.as_exact());
    assert_eq!(exact_sum, *bill.exact.as_exact());
    let note = &bill.adjustments[1].note;
    assert!(note.contains("spread evenly: an estimate"), "{note}");
}

#[test]
fn a_credit_never_makes_a_bill_negative() {
    let bill = settle_page_example(&contract("credit = \"100\"\ntax = \"19 %\"\n"));
    assert_eq!(bill.adjustments[0].rounded.to_plain_string(), "-2.73");
    assert_eq!(bill.total.to_plain_string(), "0");
}

#[test]
fn where_sums_are_rounded_net_and_tax_are() {
    // 2.333338 + 0.40 = 2.733338 -> 2.73; x 0.19 = 0.5187 -> 0.52
    let bill = settle_page_example(&contract("rounding = \"sum_half_up\"\ntax = \"19 %\"\n"));
    assert_eq!(bill.total.to_plain_string(), "3.25");
    let bill = settle_page_example(&contract("rounding = \"none\"\ntax = \"19 %\"\n"));
    // 2.733338 x 1.19
    assert_eq!(bill.total.to_plain_string(), "3.25267222");
}

/// One subtotal of a charge, by its name.
fn subtotal(model: &PriceModel, name: &str, quantity: &str) -> Subtotal {
    let charge = model.shared_charges().iter().find(|it| it.name() == name).unwrap();
    Subtotal { charge: Arc::clone(charge), quantity: exact(quantity) }
}

/// Terms of a period of some hours.
fn hours(model: &PriceModel, count: u64) -> Terms {
    let mut terms = Terms::for_model(model);
    terms.set_period(Exact::from(count * 3_600_000_000_000));
    terms
}

#[test]
fn known_hours_are_settled_hour_by_hour() {
    let mine = contract(
        "allowances = \"none\"\nrounding = \"none\"\n[prices]\nduration = [{ price = \"1\" }]\n\
         [commitment]\nper_hour = \"1\"\nmeasured_at = \"list_prices\"\ndiscount = \"17 %\"\n\
         covers = [\"duration\"]\n",
    );
    // $1.50 in one hour: 1 x 83 % + 0.50 = 1.33, as the announcement of Cloud Run's commitments
    // says; nothing in the next: 0.83.
    let settle = |quantities: &[&str], count| {
        let usage: Vec<Vec<Subtotal>> =
            quantities.iter().map(|it| vec![subtotal(&mine, "duration", it)]).collect();
        mine.settle_by_hour(&usage, &hours(&mine, count), mine.rounding())
    };
    assert_eq!(settle(&["1.5"], 1).total.to_plain_string(), "1.33");
    let bill = settle(&["1.5", "0"], 2);
    assert_eq!(bill.total.to_plain_string(), "2.16");
    // Spread evenly the same usage is covered whole: 2 x 0.83.
    let sums = [subtotal(&mine, "duration", "1.5")];
    let spread = mine.settle(&sums, &hours(&mine, 2), mine.rounding());
    assert_eq!(spread.total.to_plain_string(), "1.66");
    assert!(spread.adjustments[1].note.contains("estimate"));
    assert!(!bill.adjustments[1].note.contains("estimate"));
    // Hours that are not given have no usage.
    assert_eq!(settle(&["1.5"], 2).total.to_plain_string(), "2.16");
}

#[test]
fn allowances_are_used_up_in_the_order_of_the_hours() {
    let mine = contract(
        "rounding = \"none\"\n[allowances]\nduration = \"3 GB-s\"\n[prices]\n\
         duration = [{ price = \"1\" }]\n[commitment]\nper_hour = \"1\"\ndiscount = \"50 %\"\n\
         covers = [\"duration\"]\n",
    );
    // 2 + 2 + 2 GB-s less 3: nothing, 1 and 2 dollars; at half price 0, 0.5 and 1 of 1 each.
    let usage: Vec<Vec<Subtotal>> =
        (0..3).map(|_| vec![subtotal(&mine, "duration", "2")]).collect();
    let bill = mine.settle_by_hour(&usage, &hours(&mine, 3), mine.rounding());
    let amounts: Vec<String> =
        bill.adjustments.iter().map(|it| it.amount.to_plain_string()).collect();
    assert_eq!(amounts, ["-3", "1.5", "1.5"]);
}

#[test]
fn equal_hours_are_those_that_usage_is_spread_over() {
    let mine = contract(
        "allowances = \"none\"\ndiscount = \"12 %\"\n[commitment]\nper_hour = \"0.00003\"\n\
         discounts = { duration = \"17 %\", requests = \"5 %\" }\n",
    );
    let hour = vec![subtotal(&mine, "duration", "2"), subtotal(&mine, "invocations", "20")];
    let known = mine.settle_by_hour(&vec![hour; 24], &hours(&mine, 24), mine.rounding());
    let sums = [subtotal(&mine, "duration", "48"), subtotal(&mine, "invocations", "480")];
    let spread = mine.settle(&sums, &hours(&mine, 24), mine.rounding());
    assert_eq!(known.positions, spread.positions);
    assert_eq!((known.exact, known.total), (spread.exact, spread.total));
    for (one, other) in known.adjustments.iter().zip(&spread.adjustments) {
        assert_eq!((one.kind, &one.amount), (other.kind, &other.amount));
    }
    // By hour 2 x 0.0000166667 x 0.83 = 0.000027666722 and of 20 x 0.0000002 x 0.95 = 0.0000038
    // what is left of 0.00003.
    let unused = spread.adjustments.iter().find(|it| it.kind == AdjustmentKind::CommitmentUnused);
    assert!(unused.is_some_and(|it| it.amount.is_zero()));
}

/// The illustrative rates of "Understanding how Savings Plans apply to your AWS usage".
const GUIDE: &str = r#"
id = "guide"
name = "Rates of the Savings Plans guide"
currency = "USD"
granularity = "coarse"
effective_from = 2025-01-01
retrieved = 2026-11-29
source = "https://docs.aws.amazon.com/savingsplans/latest/userguide/sp-applying.html, rates that are illustrative only"
rounding = "line_half_up"
[[input]]
name = "linux"
kind = "count"
about = "r5.4xlarge Linux"
[[input]]
name = "windows"
kind = "count"
about = "m5.24xlarge Windows"
[[charge]]
name = "r5"
basis = "period"
price = "1.00"
factor = [{ input = "linux", unit = "h" }]
[[charge]]
name = "m5"
basis = "period"
price = "10.00"
factor = [{ input = "windows", unit = "h" }]
[[charge]]
name = "fargate vcpu"
basis = "period"
price = "0.04"
factor = [{ input = "linux", unit = "h" }]
[[charge]]
name = "fargate memory"
basis = "period"
price = "0.004"
factor = [{ input = "linux", unit = "h" }]
[[charge]]
name = "lambda"
basis = "period"
price = "0.000015"
factor = [{ input = "linux", unit = "h" }]
[[charge]]
name = "lambda requests"
basis = "period"
price = "0.0000002"
factor = [{ input = "linux", unit = "h" }]
"#;

fn guide_bill(per_hour: &str) -> crate::Settlement {
    let base = PriceModel::parse_all(GUIDE, "guide.toml").unwrap();
    let text = format!(
        "extends = \"guide\"\nid = \"plan\"\nname = \"A plan\"\n[commitment]\n\
         per_hour = \"{per_hour}\"\n[commitment.rates]\nr5 = \"0.70\"\nm5 = \"8.20\"\n\
         \"fargate vcpu\" = \"0.03\"\n\"fargate memory\" = \"0.003\"\nlambda = \"0.00001275\"\n\
         \"lambda requests\" = \"0.0000002\"\n"
    );
    let plan = PriceModel::parse_with(&text, "plan.toml", &base).unwrap().remove(0);
    let usage = [
        ("r5", "4"),
        ("m5", "1"),
        ("fargate vcpu", "400"),
        ("fargate memory", "1600"),
        ("lambda", "1500000"),
        ("lambda requests", "1000000"),
    ];
    let hour = usage.iter().map(|(name, quantity)| subtotal(&plan, name, quantity)).collect();
    plan.settle_by_hour(&[hour], &hours(&plan, 1), plan.rounding())
}

fn line(bill: &crate::Settlement, kind: AdjustmentKind) -> String {
    let found = bill.adjustments.iter().find(|it| it.kind == kind).unwrap();
    found.rounded.to_plain_string()
}

#[test]
fn the_hour_of_the_savings_plans_guide() {
    // 4 x 0.70 + 8.20 + 400 x 0.03 + 1600 x 0.003 + 1.5 million x 0.00001275 + 0.20 = 47.125,
    // the guide's $47.13 of a $50 commitment.
    let all = guide_bill("50");
    assert_eq!(line(&all, AdjustmentKind::CommitmentUsed), "47.13");
    // $19.60: by the highest discount r5 (30 %) and Fargate (25 %), 2.80 + 12.00 + 4.80; what is
    // left is on demand: m5 10.00, Lambda 22.50 + 0.20. 19.60 + 32.70 = 52.30
    let some = guide_bill("19.60");
    assert_eq!(line(&some, AdjustmentKind::CommitmentUsed), "19.6");
    assert_eq!(line(&some, AdjustmentKind::CommitmentUnused), "0");
    assert_eq!(some.total.to_plain_string(), "52.3");
}

#[test]
fn a_contract_over_a_contract_keeps_what_it_does_not_change() {
    let catalog = catalog_of(&[
        (
            "a-top.toml",
            "extends = \"middle\"\nid = \"top\"\nname = \"Top\"\ndiscount = \"50 %\"\n\
             tax = \"10 %\"\n",
        ),
        (
            "b-middle.toml",
            "extends = \"aws-lambda-x86\"\nid = \"middle\"\nname = \"Middle\"\n\
             region = \"cloud-9\"\ndiscount = \"20 %\"\ncredit = \"0.10\"\ntax = \"19 %\"\n",
        ),
    ])
    .0;
    let top = catalog.find_model("top").unwrap();
    let details = top.contract().unwrap();
    assert_eq!(details.base_ids(), ["middle", "aws-lambda-x86"]);
    assert_eq!(details.region(), Some("cloud-9"));
    // 2.333338 x 0.4 = 0.93, 0.40 x 0.4 = 0.16; - 0.10 = 0.99; 10 % are 0.099
    assert_eq!(settle_page_example(top).total.to_plain_string(), "1.09");
    // All that it takes is in one text.
    let again = PriceModel::parse_complete(top.complete_text(), "stored").unwrap();
    assert_eq!(again[0].source_digest(), top.source_digest());
    assert_eq!(settle_page_example(&again[0]), settle_page_example(top));
}

#[test]
fn the_digest_is_of_all_that_a_contract_builds_on() {
    let first = contract("tax = \"19 %\"\n");
    assert_ne!(first.source_digest(), contract("tax = \"20 %\"\n").source_digest());
    let base = find_builtin_model("aws-lambda-x86").unwrap();
    let other = base.source_text().replace("0.0000166667", "0.0000166668");
    let known = PriceModel::parse_all(&other, "aws.toml").unwrap();
    let text = format!("{HEAD}tax = \"19 %\"\n");
    let second = PriceModel::parse_with(&text, "mine.toml", &known).unwrap();
    assert_ne!(first.source_digest(), second[0].source_digest());
    assert_eq!(first.source_text(), second[0].source_text());
}

/// Reads files from a folder; returns the catalog and its notices.
fn catalog_of(files: &[(&str, &str)]) -> (PriceCatalog, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut catalog = PriceCatalog::with_builtin_models();
    catalog.add_path(folder.path()).unwrap();
    let notices = catalog.replacement_notices().join("\n");
    (catalog, notices)
}

#[test]
fn circles_and_towers_are_left_out_with_the_reason() {
    let over = |base: &str, id: &str| {
        format!("extends = \"{base}\"\nid = \"{id}\"\nname = \"A contract\"\n")
    };
    let (catalog, notices) =
        catalog_of(&[("a.toml", &over("b", "a")), ("b.toml", &over("a", "b"))]);
    assert!(notices.contains("a.toml:1:11: `b` is a contract that comes back"), "{notices}");
    let why = catalog.find_model("a").unwrap_err().to_string();
    assert!(why.contains("cannot be used"), "{why}");
    let texts: Vec<(String, String)> = (1..=5)
        .map(|level| {
            let base =
                if level == 1 { "aws-lambda-x86".to_owned() } else { format!("c{}", level - 1) };
            (format!("{}.toml", 9 - level), over(&base, &format!("c{level}")))
        })
        .collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(a, b)| (&**a, &**b)).collect();
    let (catalog, notices) = catalog_of(&files);
    assert!(catalog.find_model("c4").is_ok());
    assert!(notices.contains("`c4` is the last of 4 contracts"), "{notices}");
}

#[test]
fn a_folder_of_a_thousand_contracts_in_a_row_takes_no_time() {
    let text = |level: usize| {
        let base = if level == 0 { "aws-lambda-x86".to_owned() } else { format!("c{}", level - 1) };
        format!("extends = \"{base}\"\nid = \"c{level}\"\nname = \"A contract\"\n")
    };
    let names: Vec<(String, String)> =
        (0..1000).map(|level| (format!("{:04}.toml", 1000 - level), text(level))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(a, b)| (&**a, &**b)).collect();
    let begun = cyclometer_testkit::cpu_time();
    let (catalog, notices) = catalog_of(&files);
    assert!(catalog.find_model("c3").is_ok() && catalog.find_model("c4").is_err());
    assert_eq!(notices.lines().count(), 996, "{notices}");
    let took = cyclometer_testkit::cpu_time().saturating_sub(begun);
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}

#[test]
fn files_of_regions_may_share_the_id_of_their_model() {
    let of = |region: &str| {
        format!(
            "extends = \"aws-lambda-x86\"\nid = \"aws-lambda-x86\"\nname = \"AWS Lambda\"\n\
             [[region]]\nregion = \"{region}\"\nprices = {{ requests = \"0.3\" }}\n"
        )
    };
    let over = "extends = \"aws-lambda-x86-eu-west-9\"\nid = \"ours\"\nname = \"Ours\"\n";
    let (catalog, notices) =
        catalog_of(&[("a.toml", over), ("b.toml", &of("eu-west-8")), ("c.toml", &of("EU-West-9"))]);
    assert_eq!(notices, "");
    let ids = catalog.find_model("ours").unwrap().contract().unwrap().base_ids();
    assert_eq!(ids, ["aws-lambda-x86-eu-west-9", "aws-lambda-x86"]);
    assert!(catalog.find_model("aws-lambda-x86").unwrap().contract().is_none());
    let (catalog, notices) = catalog_of(&[("b.toml", &of("x").replace("0.3", "-0.3"))]);
    assert!(notices.contains("b.toml:6:"), "{notices}");
    assert!(catalog.find_model("aws-lambda-x86").is_ok());
    assert!(catalog.find_model("aws-lambda-x86-x").is_err());
    let own = of("a").replace("region = \"a\"", "region = \"a\"\nid = \"aws-lambda-x86\"");
    assert!(complaint_about(&own).contains("cannot extend itself"));
}

#[test]
fn a_contract_follows_the_model_that_takes_the_place_of_its_own() {
    let base = find_builtin_model("aws-lambda-x86").unwrap();
    let mut catalog = PriceCatalog::with_builtin_models();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, HEAD).unwrap();
    catalog.add_path(&path).unwrap();
    let other = folder.path().join("aws.toml");
    std::fs::write(&other, base.source_text().replace("0.0000166667", "0.00001")).unwrap();
    let mut count = catalog.models().len();
    catalog.add_path(&other).unwrap();
    let mine = catalog.find_model("mine").unwrap();
    let duration = mine.charges().find(|it| it.name() == "duration").unwrap();
    assert_eq!(*duration.list_rate(), exact("0.00001"));
    count -= catalog.models().len();
    assert_eq!(count, 0);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (rest, expected) in [
        ("discount = \"120 %\"\n", "mine.toml:4:12: `120 %` is more than 100 %: a share is from"),
        ("discount = \"-5 %\"\n", "mine.toml:4:12: `-5 %` is negative"),
        ("discount = \"12\"\n", "mine.toml:4:12: `12` has no percent sign: write it as \"12 %\""),
        ("discount = 12\n", "a share in quotes with its sign, such as \"12 %\""),
        (
            "prices = { durations = \"1\" }\n",
            "mine.toml:4:12: there is no charge or pool `durations`: did you mean `duration`?",
        ),
        (
            "prices = { duration = \"1\" }\n",
            "mine.toml:4:23: `duration` has 3 tiers: write all of them",
        ),
        ("prices = { invocations = \"1\" }\n", "`invocations` is paid for as a part of `requests`"),
        (
            "prices = { requests = 0.2 }\n",
            "a decimal in quotes such as \"0.20\", or a list of tiers",
        ),
        ("prices = { requests = \"-1\" }\n", "mine.toml:4:23: "),
        (
            "prices = { duration = [{ up_to = \"5 GB-s\", price = \"2\" }, { up_to = \"4 GB-s\", price = \"1\" }, { price = \"1\" }] }\n",
            "tiers ascend",
        ),
        ("discounts = { nothing = \"1 %\" }\n", "there is no charge or pool `nothing`"),
        (
            "allowances_used = { duration = \"400001 GB-s\" }\n",
            "the allowance of `duration` is 400000 GB-s: write no more",
        ),
        ("allowances_used = { \"tmp storage\" = \"1 GB-s\" }\n", "has no allowance"),
        ("allowances = \"some\"\n", "allowances are \"none\", or a table"),
        ("tax = { rate = \"19 %\", names = \"VAT\" }\n", "unknown field `names`"),
        ("tax = \"200 %\"\n", "more than 100 %"),
        (
            "tax = { rate = \"19 %\", name = \"duration\" }\n",
            "two lines of the bill would be called `duration`",
        ),
        (
            "minimum = { amount = \"1\", charges = [] }\n",
            "mine.toml:4:11: a minimum of no charges is never reached",
        ),
        (
            "[commitment]\nper_hour = \"1\"\nrates = { duration = \"0.00001\" }\ndiscounts = { duration = \"5 %\" }\n",
            "`duration` has a rate and a discount: write one of them",
        ),
        (
            "weights = { \"tmp storage\" = \"0.1\" }\n",
            "mine.toml:4:13: `tmp storage` feeds no pool and has no weight: write [prices] \"tmp storage\" = \"...\"",
        ),
        (
            "region = \"eu-central-2\"\n",
            "mine.toml:4:10: the prices of `aws-lambda-x86` are not those of eu-central-2: write \
             extends = \"aws-lambda-x86-eu-central-2\", or your own [prices]",
        ),
        ("minimum = { amount = \"1\", charges = [\"duratoin\"] }\n", "did you mean `duration`?"),
        ("credit = \"-1\"\n", "mine.toml:4:10: "),
        ("month = \"3 h\"\n", "a billing period has 1 to 366 days"),
    ] {
        check_complaint(rest, expected);
    }
}

fn check_complaint(rest: &str, expected: &str) {
    let told = complaint(rest);
    assert!(told.contains(expected), "{rest}\n{told}\nexpected: {expected}");
    assert!(told.starts_with("mine.toml:"), "{told}");
}

#[test]
fn what_is_wrong_in_a_table_or_with_the_base_is_told_with_its_place() {
    for (rest, expected) in [
        ("[commitment]\nper_hour = \"1\"\n", "what does it cover? Write covers = "),
        (
            "[commitment]\nper_hour = \"0\"\ndiscount = \"1 %\"\ncovers = [\"duration\"]\n",
            "more than 0 an hour",
        ),
        (
            "[commitment]\nper_hour = \"1\"\ncovers = [\"duration\"]\n",
            "how much less does `duration` cost?",
        ),
        (
            "[commitment]\nper_hour = \"1\"\nrates = { duration = \"1\" }\n",
            "no more than the list price, 0.0000166667",
        ),
        (
            "[commitment]\nper_hour = \"1\"\ndiscount = \"1 %\"\ncovers = [\"duration\", \"duration\"]\n",
            "covered twice",
        ),
        (
            "[commitment]\nper_hour = \"1\"\nmeasured_at = \"list_prices\"\ndiscounts = { duration = \"17 %\", requests = \"10 %\" }\n",
            "has one `discount`",
        ),
        (
            "[currency]\ncode = \"EUR\"\nrate = \"0.9\"\nper = \"GBP\"\ndate = 2026-01-01\nsource = \"x\"\n",
            "the prices are in USD: write the rate per USD, not per GBP",
        ),
        (
            "[currency]\ncode = \"EUR\"\nrate = \"0\"\nper = \"USD\"\ndate = 2026-01-01\nsource = \"x\"\n",
            "a rate is more than 0",
        ),
        (
            "[currency]\ncode = \"EUR\"\nrate = \"0.9\"\nper = \"USD\"\nsource = \"x\"\n",
            "missing field `date`",
        ),
        ("charge = []\n", "unknown field `charge`"),
        ("[[region]]\nregion = \"EU (Frankfurt)\"\n", "give this region an `id` of its own"),
        (
            "[[region]]\nregion = \"a\"\n[[region]]\nregion = \"a\"\n",
            "there are two models `mine-a`",
        ),
        ("region = \"a\u{202e}b\"\n", "control character"),
        ("base = []\n", "there are 0 [[base]] here"),
        ("[[base]]\ntext = \"x\"\n", "a carried file: mine.toml:1:"),
    ] {
        check_complaint(rest, expected);
    }
    let own = HEAD.replace("aws-lambda-x86", "mine");
    assert!(complaint_about(&own).contains("mine.toml:1:11: `mine` cannot extend itself"));
    let near = HEAD.replace("aws-lambda-x86", "aws-lambda-x68");
    assert!(complaint_about(&near).contains("did you mean `aws-lambda-x86`?"));
}

#[test]
fn huge_numbers_are_refused_or_exact() {
    let digits = "9".repeat(39);
    let told = complaint(&format!("discount = \"{digits} %\"\n"));
    assert!(told.contains("more than 100 %") && told.len() < 400, "{told}");
    assert!(complaint(&format!("credit = \"{}\"\n", "9".repeat(60_000))).len() < 700);
    let fine = format!("0.{}", "1".repeat(38));
    let mine = contract(&format!(
        "discount = \"{fine} %\"\ntax = \"{fine} %\"\n[currency]\ncode = \"EUR\"\n\
         rate = \"{fine}\"\nper = \"USD\"\ndate = 2026-01-01\nsource = \"x\"\n"
    ));
    let bill = settle_page_example(&mine);
    assert!(bill.total > Money::default());
    // Four contracts of such prices: bills stay within the limit, or the contract is refused.
    let pools: String = find_builtin_model("aws-lambda-x86")
        .unwrap()
        .pools()
        .iter()
        .map(|pool| format!("\"{}\" = \"{fine}7 %\"\n", pool.name()))
        .collect::<Vec<_>>()
        .concat();
    let text = format!("{HEAD}[discounts]\n{pools}");
    crate::survival::price_model_survives(&text);
}

#[test]
fn a_discount_of_everything_leaves_nothing() {
    let mine = contract(
        "discount = \"100 %\"\n[commitment]\nper_hour = \"1\"\ndiscount = \"17 %\"\n\
         covers = [\"duration\"]\n",
    );
    let bill = settle_page_example(&mine);
    // Nothing is covered, and the commitment is paid all the same.
    assert_eq!(bill.total.to_plain_string(), "720");
}

#[test]
fn broken_contracts_are_models_or_complaints_with_a_place() {
    for (origin, text) in CONFORMANCE {
        crate::survival::price_model_survives(text);
        for (_, mutant) in crate::tests::mutations::mutants(origin, text).take(60) {
            crate::survival::price_model_survives(&mutant);
        }
    }
}

#[test]
fn the_contract_of_the_documentation_comes_out() {
    let page = include_str!("../../../../docs/price-models.md");
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default());
    let contracts: Vec<&str> = blocks.filter(|it| it.starts_with("extends")).collect();
    assert_eq!(contracts.len(), 2);
    for text in contracts {
        let models = PriceModel::parse_all(text, "the page").unwrap_or_else(|it| panic!("{it}"));
        for model in &models {
            for example in model.examples() {
                example.check_against(model).unwrap_or_else(|it| panic!("{it}"));
            }
        }
    }
}

#[test]
fn a_position_that_is_counted_in_money_has_its_prices_in_its_weights() {
    let run = HEAD.replace("aws-lambda-x86", "google-cloud-run");
    let told = complaint_about(&format!("{run}prices = {{ cpu = \"0.0000216\" }}\n"));
    assert!(told.starts_with("mine.toml:4:18: `cpu` is counted in USD"), "{told}");
    assert!(told.contains("[weights] \"cpu time\" = \"0.0000216\""), "{told}");
    let rate = "[commitment]\nper_hour = \"1\"\nrates = { cpu = \"0.00002\" }\n";
    let told = complaint_about(&format!("{run}{rate}"));
    assert!(told.contains("discounts = { \"cpu\" = \"17 %\" }"), "{told}");
    let fly = HEAD.replace("aws-lambda-x86", "fly-machines");
    let told = complaint_about(&format!("{fly}prices = {{ machine = \"2\" }}\n"));
    assert!(told.contains("[weights] \"started\" = \"2\""), "{told}");
    // 1,000,000 s of 1 vCPU at 0.0000216 are 21.60, without the allowance.
    let text =
        format!("{run}allowances = \"none\"\nweights = {{ \"cpu time\" = \"0.0000216\" }}\n");
    let model = PriceModel::parse_first(&text, "mine.toml").unwrap();
    let charge = model.charges().find(|it| it.name() == "cpu time").unwrap();
    assert_eq!(*charge.list_rate(), exact("0.0000216"));
}

#[test]
fn a_region_is_that_of_the_prices_or_it_is_said() {
    let steps = |text: &str| {
        let model = PriceModel::parse_first(text, "mine.toml").unwrap();
        model.contract().unwrap().other_steps().join("; ")
    };
    let elsewhere = format!("{HEAD}region = \"cloud-9\"\n");
    assert_eq!(steps(&elsewhere), "all prices are those of aws-lambda-x86, not of cloud-9");
    let same = HEAD.replace("aws-lambda-x86", "aws-lambda-x86-eu-central-2");
    assert_eq!(steps(&format!("{same}region = \"eu-central-2\"\n")), "");
    let other = HEAD.replace("aws-lambda-x86", "aws-lambda-x86-sa-east-1");
    let told = complaint_about(&format!("{other}region = \"eu-central-2\"\n"));
    assert!(told.contains("extends = \"aws-lambda-x86-eu-central-2\""), "{told}");
    let own = format!("{HEAD}region = \"eu-central-2\"\nprices = {{ requests = \"0.3\" }}\n");
    let told = steps(&own);
    assert!(told.starts_with("as in aws-lambda-x86, not of eu-central-2: "), "{told}");
    assert!(told.contains("duration") && !told.contains(": requests"), "{told}");
    // Tier 2 is a variant of its own.
    let run = HEAD.replace("aws-lambda-x86", "google-cloud-run");
    let told = complaint_about(&format!("{run}region = \"europe-west3\"\n"));
    assert!(told.contains("extends = \"google-cloud-run-europe-west3\""), "{told}");
}

#[test]
fn a_minimum_of_charges_names_them() {
    let of = |text: &str| contract(text).contract().unwrap().period_terms();
    let charges = "minimum = { amount = \"500\", charges = [\"duration\", \"requests\"] }\n";
    assert_eq!(of(charges), ["minimum of 500 for duration and requests"]);
    assert_eq!(of("minimum = \"500\"\n"), ["minimum of 500"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_contract_or_model() {
    let text = format!("\u{feff}{HEAD}");
    assert!(crate::is_contract(&text));
    assert_eq!(PriceModel::parse_first(&text, "mine.toml").unwrap().id(), "mine");
    let base = find_builtin_model("aws-lambda-x86").unwrap().source_text();
    assert!(PriceModel::parse_all(&format!("\u{feff}{base}"), "base.toml").is_ok());
    let (catalog, said) = catalog_of(&[("mine.toml", &text)]);
    assert!(catalog.find_model("mine").is_ok(), "{said}");
}

#[test]
fn a_contract_over_a_regional_model_is_found_among_models() {
    let text = HEAD.replace("aws-lambda-x86", "aws-lambda-x86-sa-east-1");
    let known = crate::builtin_models();
    let model = &PriceModel::parse_with(&text, "mine.toml", known).unwrap()[0];
    assert_eq!(model.contract().unwrap().region(), Some("sa-east-1"));
}
