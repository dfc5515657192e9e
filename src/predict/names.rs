//! Names of folders and files made of what users call their proteins. Headers are anything; a name is one path component on every system.

use std::collections::HashMap;

/// Longest name, in bytes: names of files have ends of their own, and systems stop at 255.
const LONGEST: usize = 80;

/// Names that Windows keeps for devices, whatever follows after a dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// A file name for a text: ASCII letters, digits, `.`, `_` and `-` stay, everything else becomes `_`. What is too long is cut and ends in a
/// checksum of the whole, so that two long names stay apart. Never empty, hidden, an option, a device or a way out of the folder.
pub fn safe(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let mut name: String = text.trim().chars().take(LONGEST + 1).map(kept).collect();
    if name.len() > LONGEST {
        name.truncate(LONGEST - 9);
        name += &format!("_{:08x}", crc32fast::hash(text.as_bytes()));
    }
    while name.ends_with('.') {
        name.pop();
    }
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered =
        stem.get(..3).is_some_and(|s| s == "com" || s == "lpt") && stem.len() == 4 && stem.ends_with(|c: char| c.is_ascii_digit());
    if DEVICES[..4].contains(&stem.as_str()) || numbered {
        name.insert(0, '_');
    }
    if name.bytes().all(|b| b == b'_') { "target".into() } else { name }
}

/// Gives each target a name of its own: a repeated one, in whatever case, gets a number. The same targets in the same order get the same names.
#[derive(Debug, Default)]
pub struct Names {
    used: HashMap<String, usize>,
}

impl Names {
    /// [`safe`], made unique.
    pub fn unique(&mut self, text: &str) -> String {
        let name = safe(text);
        let mut candidate = name.clone();
        let mut number = 1;
        while self.used.contains_key(&candidate.to_ascii_lowercase()) {
            number = number.max(self.used[&name.to_ascii_lowercase()]) + 1;
            candidate = format!("{name}_{number}");
        }
        self.used.insert(candidate.to_ascii_lowercase(), 1);
        self.used.insert(name.to_ascii_lowercase(), number);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_one_plain_component() {
        let long = "A".repeat(10_000);
        let hostile = [
            "../../etc/passwd",
            "..",
            ".",
            "",
            "/",
            "\\\\server\\share",
            "C:\\x",
            "-rf",
            "<script>alert('x')</script>",
            "a\0b",
            "naïve 😀",
            "CON",
            "nul.txt",
            "com1",
            "lpt9.x",
            "x...",
            &long,
            "\"quoted\"",
            "a\nb",
            "日本語",
        ];
        for text in hostile {
            let name = safe(text);
            assert!(!name.is_empty() && name.len() <= LONGEST, "{text}: {name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}: {name}");
            assert!(!name.starts_with(['.', '-']) && !name.ends_with('.'), "{text}: {name}");
            assert_eq!(std::path::Path::new(&name).components().count(), 1);
        }
        assert_eq!((safe("T1078").as_str(), safe("sp|P1|X_1").as_str(), safe("日本").as_str()), ("T1078", "sp_P1_X_1", "target"));
        assert_eq!((safe("CON").as_str(), safe("com1.x").as_str(), safe("contact").as_str()), ("_CON", "_com1.x", "contact"));
        assert_ne!(safe(&long), safe(&"A".repeat(9_999)));
    }

    #[test]
    fn repeated_names_are_numbered_without_regard_to_case() {
        let mut names = Names::default();
        let got: Vec<String> = ["a", "A", "a_2", "b", "a"].iter().map(|n| names.unique(n)).collect();
        let lower: std::collections::HashSet<String> = got.iter().map(|n| n.to_ascii_lowercase()).collect();
        assert_eq!((got[0].as_str(), got[1].as_str(), got[3].as_str(), lower.len()), ("a", "A_2", "b", 5), "{got:?}");
    }
}
