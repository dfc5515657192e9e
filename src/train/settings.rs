//! Changes to a tree of settings whose keys and types are all known: what files and `--set` do to a preset.
//!
//! Knows TOML values; which settings there are it is told by the tree, and by [`Rules`] where the tree cannot tell.

use toml::{Table, Value};

/// What a tree of settings does not say of itself. Paths are dotted.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Tables that take any key.
    pub free: &'static [&'static str],
    /// A new element of the list at this path.
    pub element: fn(&str) -> Option<Value>,
}

/// Puts every key of `changes` in its place. The message of a refusal names the key.
pub fn merge(tree: &mut Value, changes: Table, rules: &Rules) -> Result<(), String> {
    let known = known_keys(tree, rules);
    put(tree, Value::Table(changes), "", rules, &known)
}

/// `key=value` with a dotted key; numbers are places in a list, the one after the last adds an element.
pub fn assign(tree: &mut Value, key: &str, text: &str, rules: &Rules) -> Result<(), String> {
    let known = known_keys(tree, rules);
    let (mut at, mut path) = (tree, String::new());
    for part in key.split('.') {
        let whole = if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
        let free = rules.free.contains(&path.as_str()) || rules.free.iter().any(|f| path.starts_with(&format!("{f}.")));
        at = match at {
            Value::Table(table) => {
                if free && !table.contains_key(part) {
                    table.insert(part.into(), Value::Table(Table::new()));
                }
                table.get_mut(part).ok_or_else(|| unknown(&whole, &known))?
            }
            Value::Array(list) => {
                let n = list.len();
                let place: usize = part.parse().map_err(|_| unknown(&whole, &known))?;
                if place == n {
                    list.extend((rules.element)(&path));
                }
                list.get_mut(place).ok_or_else(|| format!("`{path}` has {n} elements; `{whole}` is beyond the next one"))?
            }
            _ => return Err(unknown(&whole, &known)),
        };
        path = whole;
    }
    let free = rules.free.iter().any(|f| path.starts_with(&format!("{f}.")));
    let parsed = toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v"));
    // A word needs no quotes, and where a string is wanted a number is one.
    let value = match parsed {
        Some(value) if free || !at.is_str() || value.is_str() => value,
        _ => Value::String(text.to_owned()),
    };
    if free {
        *at = value;
        return Ok(());
    }
    put(at, value, &path, rules, &known)
}

/// Replaces `at` by `value` of the same type; tables are merged, elements of lists completed.
fn put(at: &mut Value, value: Value, path: &str, rules: &Rules, known: &[String]) -> Result<(), String> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (&mut *at, value) {
        (Value::Table(table), Value::Table(changes)) => {
            for (key, value) in changes {
                match table.get_mut(&key) {
                    _ if rules.free.contains(&path) => drop(table.insert(key, value)),
                    Some(old) => put(old, value, &below(&key), rules, known)?,
                    None => return Err(unknown(&below(&key), known)),
                }
            }
        }
        (Value::Array(list), Value::Array(values)) => {
            let old = std::mem::take(list);
            for (i, value) in values.into_iter().enumerate() {
                // A list whose elements nobody can make anew, such as a range, keeps its length.
                let element = (rules.element)(path).or_else(|| old.get(i).cloned());
                let mut element = element.ok_or_else(|| format!("`{path}` has {} elements, not more", old.len()))?;
                put(&mut element, value, &below(&i.to_string()), rules, known)?;
                list.push(element);
            }
            if (rules.element)(path).is_none() && list.len() < old.len() {
                return Err(format!("`{path}` has {} elements, not {}", old.len(), list.len()));
            }
        }
        (Value::Float(old), Value::Integer(value)) => *old = value as f64,
        (Value::Integer(_), Value::Integer(value)) if value < 0 => return Err(format!("`{path}` is {value}; it must not be negative")),
        (Value::Float(_), Value::Float(value)) if !value.is_finite() => return Err(format!("`{path}` is {value}; it must be finite")),
        (old, value) if old.same_type(&value) => *old = value,
        (old, value) => return Err(format!("`{path}` is {}, expected {}", name(&value), name(old))),
    }
    Ok(())
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// All dotted keys of a tree; elements of lists stand at place 0.
fn known_keys(tree: &Value, rules: &Rules) -> Vec<String> {
    fn walk(value: &Value, path: &str, rules: &Rules, out: &mut Vec<String>) {
        if !path.is_empty() {
            out.push(path.to_owned());
        }
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Table(table) if !rules.free.contains(&path) => table.iter().for_each(|(k, v)| walk(v, &below(k), rules, out)),
            Value::Array(_) => (rules.element)(path).iter().for_each(|e| walk(e, &below("0"), rules, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(tree, "", rules, &mut out);
    out
}

fn unknown(path: &str, known: &[String]) -> String {
    let last = |s: &str| s.rsplit('.').next().unwrap_or_default().to_owned();
    // The right word in the wrong table is as near as a slip of the pen in the whole path.
    let far = |k: &&String| distance(path, k).min(distance(&last(path), &last(k)) + usize::from(path.contains('.')));
    let near = known.iter().min_by_key(far).map(|k| format!("; the nearest is `{k}`")).unwrap_or_default();
    format!("there is no key `{path}`{near}")
}

/// Levenshtein's distance of two words.
fn distance(a: &str, b: &str) -> usize {
    let first = (0..=b.chars().count()).collect();
    *edits(a, b, first).last().expect("a row is never empty")
}

/// Levenshtein's distance of `a` from the part of `b` that is nearest.
pub fn distance_within(a: &str, b: &str) -> usize {
    let first = vec![0; b.chars().count() + 1];
    edits(a, b, first).into_iter().min().expect("a row is never empty")
}

/// Edits that make `a` of what ends at each place of `b`; `row` is what no letter of `a` costs there.
fn edits(a: &str, b: &str, mut row: Vec<usize>) -> Vec<usize> {
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let best = (row[j] + 1).min(row[j + 1] + 1).min(diagonal + usize::from(x != y));
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_far_apart_as_their_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("lr", "lr"), 0);
        assert_eq!(distance_within("formr", "an/evoformer/block"), 1);
    }
}
