//! Files that become manifests only when Helm has rendered them.

/// What no text of a manifest has between two braces.
const OF_A_CHART: [&str; 8] =
    [".Values", ".Release", ".Chart", ".Capabilities", ".Files", ".Template", "include \"", "toYaml"];
/// What begins an action, where the text is no manifest as it stands.
const ACTIONS: [&str; 10] =
    ["if ", "range ", "with ", "end", "else", "define ", "template ", "block ", "tpl ", "/*"];

/// The line, from 1, of the first action of a Helm template in `text`. Where the text is a whole manifest as it
/// stands, only what speaks of a chart is one: other templates may be in it.
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
