//! Prints problems under the text they are in.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::{CommandError, Problem, Span};

/// Every problem of a file, as rustc prints them: reason, `file:line:column`, the line with carets,
/// hint; a blank line between two.
pub fn report(path: &str, source: &str, problems: &[Problem]) -> String {
    let renderer = Renderer::plain();
    let texts: Vec<String> = problems
        .iter()
        .map(|problem| {
            let mut snippet = Snippet::source(source)
                .path(path)
                .annotation(AnnotationKind::Primary.span(visible(source, problem.span)));
            for (span, label) in &problem.related {
                let context = AnnotationKind::Context.span(visible(source, *span));
                snippet = snippet.annotation(context.label(label.as_str()));
            }
            let mut group = Group::with_title(Level::ERROR.primary_title(&*problem.reason));
            group = group.element(snippet);
            if let Some(hint) = &problem.hint {
                group = group.element(Level::HELP.message(hint.as_str()));
            }
            renderer.render(&[group])
        })
        .collect();
    let mut text = texts.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A range the renderer accepts: inside the source, on character boundaries, and on one line, so
/// that carets stay under the word.
fn visible(source: &str, span: Span) -> std::ops::Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(span.start);
    let end = boundary(span.end).max(start);
    match source[start..end].find('\n') {
        Some(newline) if newline > 0 => start..start + newline,
        _ => start..end,
    }
}

/// An error of a CLI line, with carets under the word:
///
/// ```text
/// lb vip 10.0.0.1 encap nat4
///        ^^^^^^^^ invalid vip prefix: the prefix length is missing
///        hint: write 10.0.0.1/32 for this one address
/// ```
pub fn report_line(line: &str, error: &CommandError) -> String {
    let indent = " ".repeat(error.column.saturating_sub(1));
    // A tab before the word would move it away from the caret.
    let line = line.replace('\t', " ");
    let carets = "^".repeat(error.token.chars().count().max(1));
    let mut text = format!("{line}\n{indent}{carets} {}\n", error.reason);
    if let Some(hint) = &error.hint {
        text.push_str(&format!("{indent}hint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_report_has_place_carets_and_hint() {
        let source = "[cpu]\nmain-core = 0\ncorelist-workers = \"0-1\"\n";
        let at = |text: &str| {
            let start = source.find(text).unwrap();
            Span::new(start, start + text.len())
        };
        let problem = Problem::new(at("\"0-1\""), "CPU 0 is the main core")
            .with_related(at("0\n"), "the main core")
            .with_hint("leave it out");
        let text = report("lb.toml", source, &[problem.clone(), problem]);
        let once = "\
error: CPU 0 is the main core
 --> lb.toml:3:20
  |
2 | main-core = 0
  |             - the main core
3 | corelist-workers = \"0-1\"
  |                    ^^^^^
  |
  = help: leave it out
";
        assert_eq!(text, format!("{once}\n{once}"));
        assert_eq!(report("lb.toml", source, &[]), "");
    }

    #[test]
    fn any_span_can_be_printed() {
        let source = "a = \"é\"\nb = [\n1,\n2]\n";
        for start in 0..source.len() + 3 {
            for end in 0..source.len() + 3 {
                let problem = Problem::new(Span::new(start, end), "wrong");
                assert!(report("f", source, &[problem]).starts_with("error: wrong\n"));
            }
        }
    }

    #[test]
    fn a_line_report_has_carets_under_the_word() {
        let line = "lb\tvip 10.0.0.1 encap nat4";
        let error = crate::parse_line(line).unwrap_err();
        assert_eq!(
            report_line(line, &error),
            "lb vip 10.0.0.1 encap nat4\n       \
             ^^^^^^^^ invalid vip prefix: the prefix length is missing\n       \
             hint: write 10.0.0.1/32 for this one address\n"
        );
    }
}
