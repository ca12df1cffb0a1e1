//! Suggestions for mistyped names.

/// Returns the candidate that was probably meant by `name`.
#[must_use]
pub fn find_nearest_name<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing takes time and memory proportional to the product of both lengths.
    let name: String = name.chars().take(64).collect();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(&name, candidate);
            let length = name.chars().count();
            let part = length >= 3 && candidate.contains(&name);
            (part || distance <= length.max(candidate.len()) / 3).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns `; did you mean ...?` with the nearest of `known`, or a list of all of them.
#[must_use]
pub fn format_suggestion<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    find_nearest_name(given, known.clone()).map_or_else(
        || format!("; there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        |name| format!("; did you mean `{name}`?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let known = ["nbody", "mandelbrot", "nop"];
        assert_eq!(find_nearest_name("nbdoy", known), Some("nbody"));
        assert_eq!(find_nearest_name("mandelbrto", known), Some("mandelbrot"));
        assert_eq!(find_nearest_name("zzz", known), None);
        assert_eq!(format_suggestion("zzz", known), "; there are nbody, mandelbrot, nop");
    }

    #[test]
    fn near_misses_are_recognised_and_far_ones_are_not() {
        let known = ["aws-lambda-x86", "per-cycle"];
        assert_eq!(find_nearest_name("aws-lambda", known), Some("aws-lambda-x86"));
        assert_eq!(find_nearest_name("per-cycel", known), Some("per-cycle"));
        assert_eq!(find_nearest_name("azure", known), None);
        assert_eq!(find_nearest_name("", known), None);
        assert_eq!(find_nearest_name(&"p".repeat(100_000), known), None);
    }
}
