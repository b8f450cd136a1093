//! Recognises Helm templates, which become manifests only when Helm renders them.

/// Words that a manifest never has between two braces, and a chart often has.
const OF_A_CHART: [&str; 8] =
    [".Values", ".Release", ".Chart", ".Capabilities", ".Files", ".Template", "include \"", "toYaml"];
/// How an action begins. These count only if the text is not a valid manifest.
const ACTIONS: [&str; 10] =
    ["if ", "range ", "with ", "end", "else", "define ", "template ", "block ", "tpl ", "/*"];

/// The line, from 1, of the first action of a Helm template in `text`. If the text is a whole manifest, only the words
/// of a chart count, because a manifest may contain templates of other programs.
pub(super) fn first_action(text: &str, is_whole: bool) -> Option<usize> {
    let is_action = |line: &str| {
        line.split("{{").skip(1).any(|rest| {
            let action = rest.split("}}").next().unwrap_or_default().trim_start_matches(['-', ' ']);
            OF_A_CHART.iter().any(|of| action.contains(of))
                || !is_whole && ACTIONS.iter().any(|begin| action.starts_with(begin))
        })
    };
    text.lines().position(is_action).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_of_a_chart_is_known_by_its_actions() {
        assert_eq!(first_action("a: b\nname: {{ .Release.Name }}-x\n", true), Some(2));
        assert_eq!(first_action("{{- if .x }}\na: b\n{{- end }}\n", false), Some(1));
        assert_eq!(first_action("x: {{- include \"a.b\" . | nindent 4 }}", true), Some(1));
    }

    #[test]
    fn braces_in_a_whole_manifest_and_in_text_are_none() {
        for text in ["a: {{b: c}: d}", "a: \"{{ with secret }}\"", "a: '.Values'", "{{", ""] {
            assert_eq!(first_action(text, true), None, "{text}");
        }
        assert_eq!(first_action("a: [\nb: {c: }}", false), None);
    }
}
