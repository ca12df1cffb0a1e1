//! Files that are designed to take long, much memory, or all of the stack.

use std::fmt::Write;
use std::time::Duration;

use super::{HEAD, complaint, parse, with};
use crate::MAX_FILE_BYTES;
use crate::survival::price_model_survives;
use cyclometer_testkit::cpu_time;

/// Time limit: some of these files took minutes before there were limits; now none takes a
/// second.
const PATIENCE: Duration = Duration::from_secs(10);

fn survives_quickly(what: &str, text: &str) {
    assert!(text.len() <= MAX_FILE_BYTES, "{what} has {} bytes", text.len());
    let begun = cpu_time();
    price_model_survives(text);
    let took = cpu_time().saturating_sub(begun);
    println!("{what}: {took:?}");
    assert!(took < PATIENCE, "{what}: {took:?}");
}

/// Like `survives_quickly`, for files that are accepted: a refusal takes no time in any case.
fn model_survives_quickly(what: &str, text: &str) {
    parse(text);
    survives_quickly(what, text);
}

fn repeated(count: usize, mut one: impl FnMut(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        text.push_str(&one(index));
        text
    })
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    for deep in ["[".repeat(60_000), "{a=".repeat(20_000), format!("{{{}=1}}", "a.".repeat(30_000))]
    {
        survives_quickly("nested value", &format!("{HEAD}x = {deep}"));
    }
    let dotted = "a.".repeat(30_000);
    survives_quickly("dotted key", &format!("{HEAD}{dotted}a = 1"));
    survives_quickly("dotted table", &format!("{HEAD}[{dotted}a]"));
    survives_quickly("dotted tables", &format!("{HEAD}[[{dotted}a]]"));
    let tables = repeated(200, |index| format!("[{}b{index}]\n", "a.".repeat(150)));
    survives_quickly("many dotted tables", &format!("{HEAD}{tables}"));
}

/// Joins the pieces up to the last one that fits the size limit as a whole.
fn as_many_as_fit(head: &str, pieces: impl Iterator<Item = String>, tail: &str) -> String {
    let mut text = head.to_owned();
    for piece in pieces {
        if text.len() + piece.len() + tail.len() > MAX_FILE_BYTES {
            break;
        }
        text.push_str(&piece);
    }
    text + tail
}

#[test]
fn many_pools_and_variants_that_remove_them_take_no_time() {
    let one = |index| {
        format!(
            "[[pool]]\nname=\"p{index}\"\nunit=\"u\"\nprice=\"1\"\n[[charge]]\nname=\"c{index}\"\n\
             pool=\"p{index}\"\n[[charge.factor]]\nmeter=\"wall\"\nunit=\"s\"\n\
             [[input]]\nname=\"i{index}\"\nkind=\"time\"\nabout=\"i\"\n"
        )
    };
    let names = repeated(63, |index| format!("\"p{index}\",\"c{index}\",\"i{index}\","));
    let variants = (0..64)
        .map(|index| format!("[[variant]]\nid=\"v{index}\"\nname=\"v\"\nwithout=[{names}]\n"));
    let text = as_many_as_fit(&format!("{HEAD}{}", repeated(64, one)), variants, "");
    model_survives_quickly("variants without", &text);
}

/// Returns 64 charges with as many digits as can be written.
fn charges() -> String {
    repeated(64, |index| {
        format!(
            "[[charge]]\nname=\"c{index}\"\nprice=\"0.{:038}\"\nper=\"0.{:037}\"\n\
             [[charge.factor]]\nmeter=\"io_read\"\nunit=\"GB\"\ngrid=\"0.{:036} B\"\n",
            index + 1,
            7 * index + 3,
            3 * index + 1,
        )
    })
}

#[test]
fn many_variants_and_examples_take_no_time() {
    let charges = charges();
    let variants = repeated(64, |index| format!("[[variant]]\nid=\"v{index}\"\nname=\"v\"\n"));
    model_survives_quickly("variants", &format!("{HEAD}{charges}{variants}"));
    let group = "[[example.usage]]\nrequests=9223372036854775807\nmeters={io_read=\"1TB\"}\n";
    let example = "[[example]]\nname=\"e\"\nsource=\"s\"\namount=\"1\"\n";
    let groups = (0..10_000).map(|_| group.to_owned());
    let text = as_many_as_fit(&format!("{HEAD}{charges}{example}"), groups, "");
    model_survives_quickly("usages", &text);
    model_survives_quickly("examples", &format!("{HEAD}{charges}{}", example.repeat(200)));
}

#[test]
fn many_tiers_and_rows_take_no_time() {
    let charge = "[[charge]]\nname=\"c\"\n[[charge.factor]]\nmeter=\"cpu_time\"\nunit=\"s\"\n";
    let tiers =
        (1..10_000).map(|end| format!("[[charge.tier]]\nup_to=\"{end}.5 s\"\nprice=\"0.{end}\"\n"));
    let last = "[[charge.tier]]\nprice=\"1\"\n";
    let text = as_many_as_fit(&format!("{HEAD}{charge}"), tiers, last);
    model_survives_quickly("tiers", &text);
    let rows = repeated(256, |row| format!("{{up_to=\"{} B\",value=\"1.{row}\"}},", row + 1));
    let factor = format!("[[charge.factor]]\nlookup=\"memory_peak\"\nunit=\"x\"\ntable=[{rows}]\n");
    model_survives_quickly("rows", &with("", &factor.repeat(5)));
}

#[test]
fn long_numbers_multiplied_take_no_time() {
    let nines = "9".repeat(40);
    let tiny = format!("0.{}1", "0".repeat(37));
    let mut text = format!(
        "{HEAD}[[input]]\nname=\"n\"\nkind=\"number\"\nabout=\"n\"\ndefault=\"{nines}\"\n\
         [[charge]]\nname=\"c\"\nprice=\"{nines}\"\nper=\"{tiny}\"\nunit=\"u\"\n\
         free=\"{tiny} u\"\ncredit_price=\"{nines}\"\npackage=\"{tiny} u\"\n"
    );
    for _ in 0..6 {
        let _ = write!(
            text,
            "[[charge.factor]]\nmeter=\"io_read\"\nunit=\"TiB\"\ntimes=\"n\"\nabove=\"{tiny} B\"\n\
             at_most=\"{nines} TiB\"\nminimum=\"{nines} TB\"\ngrid=\"{tiny} B\"\n"
        );
    }
    model_survives_quickly("long numbers", &text);
}

#[test]
fn long_names_are_cut_in_messages() {
    let key = "k".repeat(60_000);
    survives_quickly("long key", &format!("{HEAD}{key} = 1"));
    survives_quickly("long name", &with("", "").replace("cpu_time", &key));
    let message = complaint(&with("", "").replace("cpu_time", &key));
    assert!(message.len() < 1_000, "{message}");
    let escaped = "\\u001b".repeat(9_000);
    survives_quickly("control characters", &with("", "").replace("cpu_time", &escaped));
    survives_quickly("control key", &format!("{HEAD}\"{escaped}\" = 1"));
    survives_quickly("control unit", &with("", "").replace("\"s\"", &format!("\"{escaped}\"")));
}

/// Returns charges whose prices are for numbers of units without a common factor.
fn prices_without_a_common_factor(charges: usize) -> String {
    let charges = repeated(charges, |index| {
        let per = format!("{}{:03}", "9".repeat(37), 2 * index + 1);
        format!(
            "[[charge]]\nname=\"c{index}\"\nprice=\"1\"\nper=\"{per}\"\n\
             [[charge.factor]]\nmeter=\"io_read\"\nunit=\"GB\"\n"
        )
    });
    format!("{HEAD}{charges}")
}

#[test]
fn a_small_file_whose_bills_take_long_is_refused_with_its_count() {
    let text = prices_without_a_common_factor(64);
    assert!(text.len() < 20_000, "{} bytes", text.len());
    let message = complaint(&text);
    assert!(message.contains("steps of arithmetic") && message.contains("2000000"), "{message}");
    model_survives_quickly("the same of few charges", &prices_without_a_common_factor(8));
}
