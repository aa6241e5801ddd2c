//! "Did you mean …?"

/// Longer words are like none of ours, and comparing them takes long.
const LONGEST: usize = 128;

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('_', "-");
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&word, &c.to_ascii_lowercase().replace('_', "-")), c))
        .filter(|&(d, c)| d <= limit && d < c.len())
        .min_by_key(|&(d, _)| d)
        .map(|(_, c)| c)
}

/// Edit distance where swapping two neighbouring characters counts as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_but_no_strangers() {
        let words = ["protocol", "port", "encap", "target-port"];
        assert_eq!(closest("protcol", words), Some("protocol"));
        assert_eq!(closest("prot", words), Some("port"));
        assert_eq!(closest("target_port", words), Some("target-port"));
        assert_eq!(closest("ENCAP", words), Some("encap"));
        assert_eq!(closest("weight", words), None);
        assert_eq!(closest("x", ["y"]), None);
        assert_eq!(closest("nat5", ["nat4", "nat6"]), Some("nat4"));
    }
}
