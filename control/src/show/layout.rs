//! Columns as VPP's formatter lays them out, so that scripts made for VPP keep working.

/// `text` in the middle of `width` columns; an odd blank goes to the left, and a text that is too
/// long is kept whole.
pub(super) fn center(text: impl std::fmt::Display, width: usize) -> String {
    let text = text.to_string();
    let blanks = width.saturating_sub(text.chars().count());
    let right = blanks / 2;
    format!("{}{text}{}", " ".repeat(blanks - right), " ".repeat(right))
}

/// [`center`], and at least one blank after it.
pub(super) fn center_apart(text: impl std::fmt::Display, width: usize) -> String {
    let mut cell = center(text, width);
    if !cell.ends_with(' ') {
        cell.push(' ');
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_blank_goes_left() {
        assert_eq!(center("up", 5), "  up ");
        assert_eq!(center("toolong", 3), "toolong");
        assert_eq!(center_apart("toolong", 3), "toolong ");
    }
}
