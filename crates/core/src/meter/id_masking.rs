//! Masking of ids in notes about meters. A note holds for all invocations of a lane, so
//! names of a single one, such as its control group or container, are masked.

/// Shortest run of hexadecimal digits that counts as an id: Docker shows twelve.
const ID_LENGTH: usize = 12;

/// Replaces names of single processes, control groups and containers by `*`.
#[must_use]
pub fn mask_ids(text: &str) -> String {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Each word is followed by its separator.
    while !rest.is_empty() {
        let ends = rest.find(|c: char| !is_word_character(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(ends);
        out.push_str(&mask_id(word, &out));
        let separator = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    out
}

fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.".contains(character)
}

/// Masks `word` if it is an id, which may depend on the text before it.
fn mask_id(word: &str, before: &str) -> String {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    for prefix in ["cyclometer-", "cyclometer_"] {
        let rest = word.strip_prefix(prefix).unwrap_or("");
        if rest.starts_with(|first: char| first.is_ascii_digit()) {
            return format!("{prefix}*");
        }
    }
    if let Some(prefix) = ["docker-", "cri-containerd-", "libpod-"]
        .into_iter()
        .find(|prefix| word.strip_prefix(prefix).is_some_and(is_id))
    {
        return format!("{prefix}*");
    }
    let before = before.to_ascii_lowercase();
    let names_process = ["/proc/", "process ", "pid ", "pid=", "tid "];
    if is_digits(word) && names_process.iter().any(|it| before.ends_with(it)) {
        return "*".to_owned();
    }
    if is_id(word) { "*".to_owned() } else { word.to_owned() }
}

/// Returns whether a word is an id: hexadecimal with digits and letters, like a digest.
fn is_id(word: &str) -> bool {
    let word = word.strip_suffix(".scope").or(word.strip_suffix(".slice")).unwrap_or(word);
    word.len() >= ID_LENGTH
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_single_invocation_is_taken_out() {
        for (text, wanted) in [
            (
                "cannot create /sys/fs/cgroup/memory/cyclometer-12-3456-ab12cd34-d17: denied",
                "cannot create /sys/fs/cgroup/memory/cyclometer-*: denied",
            ),
            ("cyclometer_12_34_ab_d1.slice/docker-0123456789ab.scope", "cyclometer_*/docker-*"),
            ("container 0123456789abcdef is gone", "container * is gone"),
            (
                "cannot read /proc/4711/smaps: no process 4711",
                "cannot read /proc/*/smaps: no process *",
            ),
        ] {
            assert_eq!(mask_ids(text), wanted);
        }
    }

    #[test]
    fn what_holds_for_all_invocations_stays() {
        for text in [
            "cpu_time x 2100000000 Hz (TSC)",
            "page cache and kernel memory included",
            "before Linux 6.12; perf_event_paranoid is 2",
            "/sys/fs/cgroup/cyclometer-own",
            "the engine's 64 processes, ä 1",
        ] {
            assert_eq!(mask_ids(text), text);
        }
    }
}
