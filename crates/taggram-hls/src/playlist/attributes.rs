//! Attribute lists (RFC 8216 §4.2).

/// Attributes of one tag. A name appears at most once.
pub(super) struct Attributes<'a>(Vec<(&'a str, Value<'a>)>);

#[derive(Clone, Copy)]
enum Value<'a> {
    Quoted(&'a str),
    Plain(&'a str),
}

/// No tag of the RFC has more than a dozen.
const MOST: usize = 64;

impl<'a> Attributes<'a> {
    pub fn read(text: &'a str) -> Result<Self, String> {
        let mut list: Vec<(&str, Value)> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest
                .split_once('=')
                .ok_or_else(|| format!("the attribute \"{}\" has no value", brief(rest)))?;
            let name = name.trim_start();
            let known = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(known) {
                return Err(format!("\"{}\" is no name of an attribute", brief(name)));
            }
            if list.iter().any(|(n, _)| *n == name) {
                return Err(format!("the attribute {name} is given twice"));
            }
            if list.len() == MOST {
                return Err(format!("there are more than {MOST} attributes"));
            }
            let value;
            if let Some(quoted) = after.strip_prefix('"') {
                let end = quoted
                    .find('"')
                    .ok_or_else(|| format!("the value of {name} lacks its closing quote"))?;
                value = Value::Quoted(&quoted[..end]);
                rest = quoted[end + 1..].trim_start();
                if !rest.is_empty() {
                    rest = rest
                        .strip_prefix(',')
                        .ok_or_else(|| format!("no comma follows the value of {name}"))?;
                }
            } else {
                let end = after.find(',').unwrap_or(after.len());
                value = Value::Plain(after[..end].trim_end());
                rest = after.get(end + 1..).unwrap_or("");
            }
            list.push((name, value));
        }
        Ok(Self(list))
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// A quoted string.
    pub fn quoted(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Quoted(text)) => Ok(Some(text)),
            Some(Value::Plain(_)) => Err(format!("the value of {name} must be in quotes")),
        }
    }

    /// A word or number, without quotes.
    pub fn plain(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Plain(text)) => Ok(Some(text)),
            Some(Value::Quoted(_)) => Err(format!("the value of {name} must not be in quotes")),
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Result<Option<u64>, String> {
        self.plain(name)?.map(|text| integer(text).map_err(|e| format!("{name}: {e}"))).transpose()
    }

    /// `YES` or `NO`; absent is no.
    pub fn yes(&self, name: &str) -> Result<bool, String> {
        match self.plain(name)? {
            None | Some("NO") => Ok(false),
            Some("YES") => Ok(true),
            Some(other) => Err(format!("{name} is {}, neither YES nor NO", brief(other))),
        }
    }
}

/// A decimal integer of RFC 8216: digits alone, below 2⁶⁴.
pub(super) fn integer(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| format!("\"{}\" is no whole number", brief(text)))
}

/// The beginning of a text, for messages.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
