//! Tests of the order and number of runs of cells.

use super::*;

/// Returns the cells in the order in which they were started, with that seed.
fn order(seed: u64, lanes: u32, runs: u32) -> Vec<String> {
    let request = PlanRequest { seed, ..request(&["nop"], runs) };
    let (_, told) = record(&mut lanes_that(lanes, |_| {}), &request, &Control::default());
    let started = told.iter().filter_map(|it| it.strip_prefix("started "));
    started.map(|it| it.split(' ').next().expect("a cell").to_owned()).collect()
}

#[test]
fn rounds_have_each_cell_once_in_random_order() {
    let cells: Vec<String> = (0..4).map(|cell| cell.to_string()).collect();
    let first = order(7, 4, 200);
    let mut firsts = [0; 4];
    for round in first.chunks(4) {
        let mut sorted = round.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, cells);
        firsts[cells.iter().position(|cell| *cell == round[0]).expect("known")] += 1;
    }
    // Each is the first of a round in 50 of 200, with a deviation of 6.
    assert!(firsts.iter().all(|count| (25..=75).contains(count)), "{firsts:?}");
    assert_eq!(first, order(7, 4, 200), "the same seed, the same order");
    assert_ne!(first, order(8, 4, 200));
}

#[test]
fn cells_are_run_until_their_medians_are_known() {
    let steady = Fake { wall: Some(|at| 1_000_000 + u64::from(at % 3)), ..Fake::default() };
    let jumpy =
        Fake { wall: Some(|at| 1_000_000 + u64::from(at % 2) * 500_000), ..Fake::default() };
    let dead = Fake { script: [Status::Failed; 100].into(), ..Fake::default() };
    let mut lanes = [lane("steady", steady), lane("jumpy", jumpy), lane("dead", dead)];
    let until = Some("1%".parse().expect("a width"));
    let request = PlanRequest { until, ..request(&["nop"], 60) };
    let (tally, told) = record(&mut lanes, &request, &Control::default());
    let looked = |cell: &str| -> Vec<&str> {
        let prefix = format!("looked {cell} ");
        told.iter().filter_map(|it| it.strip_prefix(prefix.as_str())).collect()
    };
    // Narrow at ten and at twelve runs; the other goes on to its limit.
    assert_eq!(looked("0"), ["10 false", "12 true"]);
    assert_eq!(looked("1").first(), Some(&"10 false"));
    assert!(looked("1").iter().all(|it| it.ends_with("false")));
    let runs =
        |cell: &str| told.iter().filter(|it| it.starts_with(&format!("finished {cell} "))).count();
    assert_eq!((runs("0"), runs("1")), (12, 60));
    // A cell that only fails is given up, and skips rounds before.
    assert!((5..=10).contains(&runs("2")), "{}", runs("2"));
    assert_eq!((tally.ok, tally.imprecise), (72, 2));
}

#[test]
fn what_takes_too_long_is_ended_and_said_to_be_wide() {
    let mut lanes = lanes_that(1, |_| std::thread::sleep(Duration::from_millis(5)));
    let until =
        StoppingRule { within: Some(Nanos(40_000_000)), ..("0.01%".parse().expect("a width")) };
    let request = PlanRequest { until: Some(until), ..request(&["nop"], 1_000_000) };
    let (tally, told) = record(&mut lanes, &request, &Control::default());
    assert!((1..=8).contains(&tally.ok), "{} of 5 ms in 40 ms", tally.ok);
    assert_eq!(tally.imprecise, 1);
    assert_eq!(told.last().map(String::as_str), Some("ended ok"));
}
