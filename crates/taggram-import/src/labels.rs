//! The tag vocabulary, read out of the package's `configuration.py`.

/// Most characters in a tag.
const MAX_CHARS: usize = 100;

/// The strings of the Python list that is assigned to `name` at the start of a line.
///
/// # Errors
/// A sentence: no such list, something else than plain strings in it, another number than
/// `count`, or a tag twice.
pub fn labels(source: &str, name: &str, count: usize) -> Result<Vec<String>, String> {
    let list = source
        .lines()
        .enumerate()
        .find_map(|(line, text)| {
            let value = text.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            value.trim_start().starts_with('[').then_some(line)
        })
        .and_then(|line| {
            let start = source.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
            source[start..].split_once('[').map(|(_, list)| list)
        })
        .ok_or_else(|| format!("has no line `{name} = [`"))?;
    let labels = strings(list).map_err(|e| format!("the list {name} {e}"))?;
    if labels.len() != count {
        return Err(format!(
            "{name} holds {} tags; the network answers with {count}",
            labels.len()
        ));
    }
    for (i, label) in labels.iter().enumerate() {
        if label.is_empty() || label.chars().count() > MAX_CHARS {
            return Err(format!("tag {i} of {name} has {} characters", label.chars().count()));
        }
        if labels[..i].contains(label) {
            return Err(format!("{name} holds {label:?} twice"));
        }
    }
    Ok(labels)
}

/// The string literals up to the closing bracket.
fn strings(list: &str) -> Result<Vec<String>, String> {
    let mut chars = list.chars();
    let mut strings = Vec::new();
    let mut may_start = true;
    loop {
        match chars.next() {
            Some(']') => return Ok(strings),
            Some(c) if c.is_whitespace() => {}
            Some(',') => may_start = true,
            Some(quote @ ('\'' | '"')) if may_start => {
                strings.push(string(&mut chars, quote)?);
                may_start = false;
            }
            Some('#') => while !matches!(chars.next(), None | Some('\n')) {},
            Some(c) => return Err(format!("holds {c:?} where a string or a comma should be")),
            None => return Err("does not end".into()),
        }
    }
}

fn string(chars: &mut std::str::Chars<'_>, quote: char) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            Some(c) if c == quote => return Ok(text),
            Some('\\') => match chars.next() {
                Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                other => return Err(format!("holds the escape \\{}", other.unwrap_or(' '))),
            },
            Some(c) if !c.is_control() => text.push(c),
            _ => return Err("holds a string that does not end on its line".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_list_among_other_lines() {
        let source = "SR = 16000\nXYZ_LABELS = ['no']\nXYZ = 3\n\nABC = [ 'rock',\n  \"r'n'b\", # a comment\n 'it\\'s' ]\n";
        assert_eq!(labels(source, "ABC", 3).unwrap(), ["rock", "r'n'b", "it's"]);
        assert_eq!(labels(source, "XYZ_LABELS", 1).unwrap(), ["no"]);
    }

    #[test]
    fn refuses_what_is_not_a_list_of_distinct_strings() {
        for (source, problem) in [
            ("", "no line"),
            ("A = (1)", "no line"),
            ("A = ['x', 'y'", "does not end"),
            ("A = ['x' 'y']", "where a string or a comma"),
            ("A = ['x', f()]", "where a string or a comma"),
            ("A = ['x', 'x']", "twice"),
            ("A = ['x', '']", "0 characters"),
            ("A = ['x']", "1 tags"),
            ("A = ['x', 'y\n']", "does not end"),
            ("A = ['x', '\\q']", "escape"),
        ] {
            let error = labels(source, "A", 2).unwrap_err();
            assert!(error.contains(problem), "{source:?}: {error}");
        }
    }
}
