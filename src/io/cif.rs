//! CIF 1.1 syntax: data blocks, categories, loops, quoted and multi-line values. Knows no category by name.
//!
//! Our own, because the kept-up crate for these files, pdbtbx (source of 0.12 read), shows neither its tokens nor any category but those it models:
//! no polymer sequences, no component types, no revision history.
//!
//! Tags are case-insensitive, as the standard says. A missing `data_` line is tolerated, since nothing is lost by it; a loop that does not fill
//! its last row, a tag given twice and a text without end are refused, since one cannot know which value was meant.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};

/// Items of one category; real files have up to about a hundred.
const MAX_COLUMNS: usize = 1000;

/// One value as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The text without quotes.
    pub text: &'a str,
    /// Whether it was quoted or a text field, in which case `.` and `?` are ordinary characters.
    pub quoted: bool,
}

impl<'a> Value<'a> {
    /// The text, or `None` for an unquoted `.` or `?`.
    pub fn known(self) -> Option<&'a str> {
        (self.quoted || !matches!(self.text, "." | "?")).then_some(self.text)
    }
}

/// The rows of one category.
#[derive(Debug, Default)]
pub struct Table<'a> {
    /// Lower-case item names, without the category.
    pub columns: Vec<String>,
    /// Row by row.
    pub values: Vec<Value<'a>>,
    /// One-based line where each row starts.
    pub lines: Vec<u32>,
}

impl<'a> Table<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The place of an item among the columns.
    pub fn column(&self, item: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == item)
    }

    /// The value in a row and a column.
    pub fn at(&self, row: usize, column: usize) -> Value<'a> {
        self.values[row * self.columns.len() + column]
    }

    /// The known value of an item in a row.
    pub fn get(&self, row: usize, item: &str) -> Option<&'a str> {
        self.at(row, self.column(item)?).known()
    }
}

/// One data block.
#[derive(Debug, Default)]
pub struct Block<'a> {
    /// What follows `data_`; empty when that line is missing.
    pub name: &'a str,
    /// Categories by their lower-case names, without the leading underscore.
    pub categories: HashMap<String, Table<'a>>,
}

impl<'a> Block<'a> {
    /// A category, when it has rows.
    pub fn table(&self, category: &str) -> Option<&Table<'a>> {
        self.categories.get(category).filter(|t| !t.is_empty())
    }

    /// The known value of an item in the first row of a category.
    pub fn first(&self, category: &str, item: &str) -> Option<&'a str> {
        self.table(category)?.get(0, item)
    }
}

/// The data blocks of a text; `path` is for messages alone.
pub fn parse<'a>(text: &'a str, path: &Path) -> Result<Vec<Block<'a>>> {
    if let Some(at) = text.bytes().position(|b| b == 0) {
        let line = 1 + text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count();
        return Err(Error::at_line(path, line, "a NUL byte: the file is damaged or not text"));
    }
    let mut parser = Parser { tokens: Tokens { text, at: 0, line: 1, path }, path, blocks: Vec::new(), current: 0, around: 0 };
    parser.run()?;
    Ok(parser.blocks)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Data(&'a str),
    Loop,
    Tag(&'a str),
    Value(Value<'a>),
    /// `save_NAME`, and `save_` with an empty name, which ends a frame. Structure files do not use frames, but may carry them.
    Frame(&'a str),
    /// `global_` and `stop_`, which hold nothing themselves.
    Ignored,
}

struct Tokens<'a, 'p> {
    text: &'a str,
    at: usize,
    line: u32,
    path: &'p Path,
}

impl<'a> Tokens<'a, '_> {
    /// The next token and the line it starts on.
    fn next(&mut self) -> Result<Option<(Token<'a>, u32)>> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                None => return Ok(None),
                Some(b'\n') => {
                    self.line += 1;
                    self.at += 1;
                }
                Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c) => self.at += 1,
                Some(b'#') => self.at = self.end_of_line(),
                Some(b';') if self.at == 0 || bytes[self.at - 1] == b'\n' => return self.text_field().map(Some),
                Some(&quote @ (b'\'' | b'"')) => return self.quoted(quote).map(Some),
                Some(_) => return Ok(Some((self.word(), self.line))),
            }
        }
    }

    fn end_of_line(&self) -> usize {
        self.text.as_bytes()[self.at..].iter().position(|&b| b == b'\n').map_or(self.text.len(), |n| self.at + n)
    }

    /// From a semicolon at the start of a line to the next one at the start of a line.
    fn text_field(&mut self) -> Result<(Token<'a>, u32)> {
        let (start, line) = (self.at + 1, self.line);
        match self.text[start..].find("\n;") {
            None => Err(Error::at_line(self.path, line as usize, "a text field (`;`) that begins here has no end; is the file cut off?")),
            Some(length) => {
                let text = &self.text[start..start + length];
                self.line += 1 + text.bytes().filter(|&b| b == b'\n').count() as u32;
                self.at = start + length + 2;
                let text = text.strip_suffix('\r').unwrap_or(text);
                Ok((Token::Value(Value { text, quoted: true }), line))
            }
        }
    }

    /// A quote ends a value only before white space, so that `'a dog's life'` is one value.
    fn quoted(&mut self, quote: u8) -> Result<(Token<'a>, u32)> {
        let inside = &self.text.as_bytes()[self.at + 1..];
        let ends = |i: usize| inside[i] == quote && inside.get(i + 1).is_none_or(|b| b.is_ascii_whitespace());
        let stop = (0..inside.len()).find(|&i| inside[i] == b'\n' || ends(i));
        match stop.filter(|&i| inside[i] == quote) {
            None => Err(Error::at_line(self.path, self.line as usize, format!("a value in {} has no end on its line", quote as char))),
            Some(length) => {
                let text = &self.text[self.at + 1..self.at + 1 + length];
                self.at += length + 2;
                Ok((Token::Value(Value { text, quoted: true }), self.line))
            }
        }
    }

    fn word(&mut self) -> Token<'a> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|b| b.is_ascii_whitespace() || b == 0x0b).unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        let starts = |prefix: &str| word.get(..prefix.len()).is_some_and(|w| w.eq_ignore_ascii_case(prefix));
        match word.as_bytes()[0] {
            b'_' => Token::Tag(word),
            b'd' | b'D' if starts("data_") => Token::Data(&word[5..]),
            b'l' | b'L' if word.eq_ignore_ascii_case("loop_") => Token::Loop,
            b's' | b'S' if starts("save_") => Token::Frame(&word[5..]),
            b's' | b'S' if word.eq_ignore_ascii_case("stop_") => Token::Ignored,
            b'g' | b'G' if word.eq_ignore_ascii_case("global_") => Token::Ignored,
            _ => Token::Value(Value { text: word, quoted: false }),
        }
    }
}

struct Parser<'a, 'p> {
    tokens: Tokens<'a, 'p>,
    path: &'p Path,
    blocks: Vec<Block<'a>>,
    /// The block that items go to, and the one around it while a save frame, which is a block of its own here, is open.
    current: usize,
    around: usize,
}

impl<'a> Parser<'a, '_> {
    fn run(&mut self) -> Result<()> {
        let mut pending = self.tokens.next()?;
        while let Some((token, line)) = pending {
            pending = match token {
                Token::Data(name) => {
                    self.blocks.push(Block { name, ..Block::default() });
                    self.current = self.blocks.len() - 1;
                    self.around = self.current;
                    self.tokens.next()?
                }
                Token::Frame("") => {
                    self.current = self.around;
                    self.tokens.next()?
                }
                Token::Frame(name) => {
                    self.blocks.push(Block { name, ..Block::default() });
                    self.current = self.blocks.len() - 1;
                    self.tokens.next()?
                }
                Token::Ignored => self.tokens.next()?,
                Token::Loop => self.read_loop(line)?,
                Token::Tag(tag) => {
                    match self.tokens.next()? {
                        Some((Token::Value(value), _)) => self.add_single(tag, value, line)?,
                        _ => return Err(self.wrong(line, format!("`{tag}` has no value"))),
                    }
                    self.tokens.next()?
                }
                Token::Value(value) => {
                    let shown: String = value.text.chars().take(40).collect();
                    return Err(self.wrong(
                        line,
                        format!("the value `{shown}` belongs to no tag and no loop; is a blank or a tag missing before it?"),
                    ));
                }
            };
        }
        Ok(())
    }

    fn wrong(&self, line: u32, what: String) -> Error {
        Error::at_line(self.path, line as usize, what)
    }

    fn block(&mut self) -> &mut Block<'a> {
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
        }
        &mut self.blocks[self.current]
    }

    /// One item outside a loop: a column of its category's only row.
    fn add_single(&mut self, tag: &str, value: Value<'a>, line: u32) -> Result<()> {
        let (category, item) = split_tag(tag);
        let table = self.block().categories.entry(category).or_default();
        if table.columns.len() >= MAX_COLUMNS {
            return Err(self.wrong(line, format!("the category of `{tag}` has more than {MAX_COLUMNS} items")));
        }
        let taken = table.columns.contains(&item);
        if taken || table.len() > 1 {
            return Err(self.wrong(line, format!("`{tag}` is given twice")));
        }
        if table.lines.is_empty() {
            table.lines.push(line);
        }
        table.columns.push(item);
        table.values.push(value);
        Ok(())
    }

    /// The rows of a loop; gives the token after it.
    fn read_loop(&mut self, loop_line: u32) -> Result<Option<(Token<'a>, u32)>> {
        let mut tags = Vec::new();
        let mut pending = self.tokens.next()?;
        while let Some((Token::Tag(tag), line)) = pending {
            tags.push((split_tag(tag), line));
            pending = self.tokens.next()?;
        }
        let Some(((category, _), _)) = tags.first() else { return Err(self.wrong(loop_line, "`loop_` is followed by no tag".into())) };
        let category = category.clone();
        if tags.len() > MAX_COLUMNS {
            return Err(self.wrong(loop_line, format!("a loop of more than {MAX_COLUMNS} columns")));
        }
        for (i, ((other, item), line)) in tags.iter().enumerate() {
            // Tags of small-molecule CIF have no category, so that any of them may stand in a loop.
            if *other != category && other != item {
                return Err(self.wrong(*line, format!("the loop of `_{category}` also names `_{other}.{item}`")));
            }
            if tags[..i].iter().any(|((_, before), _)| before == item) {
                return Err(self.wrong(*line, format!("`_{category}.{item}` is given twice")));
            }
        }
        let width = tags.len();
        let mut table = Table { columns: tags.into_iter().map(|((_, item), _)| item).collect(), ..Table::default() };
        let mut last = loop_line;
        while let Some((Token::Value(value), line)) = pending {
            if table.values.len().is_multiple_of(width) {
                table.lines.push(line);
            }
            table.values.push(value);
            last = line;
            pending = self.tokens.next()?;
        }
        let over = table.values.len() % width;
        if over != 0 {
            let first = self.first_odd_row(&table);
            let hint = first.map_or(String::new(), |l| format!("; line {l} is the first that does not hold a row of its own"));
            let what = format!("the loop of `_{category}` has {width} columns, and its last row has {over} values{hint}");
            return Err(self.wrong(last, what));
        }
        if self.block().categories.get(&category).is_some_and(|t| !t.is_empty()) {
            return Err(self.wrong(loop_line, format!("the category `_{category}` is given twice")));
        }
        self.block().categories.insert(category, table);
        Ok(pending)
    }

    /// Where rows stop starting on lines of their own: the likely place of a missing value in a table of one row a line.
    fn first_odd_row(&self, table: &Table) -> Option<u32> {
        let lines = &table.lines;
        let one_a_line = lines.len() > 2 && lines[1] == lines[0] + 1;
        let odd = lines.windows(2).find(|w| w[1] != w[0] + 1);
        odd.filter(|_| one_a_line).map(|w| w[0])
    }
}

/// Category and item of a tag in lower case; a tag without a dot is an item of the category of its own name (small-molecule CIF).
fn split_tag(tag: &str) -> (String, String) {
    let lower = tag[1..].to_ascii_lowercase();
    match lower.split_once('.') {
        Some((category, item)) => (category.to_string(), item.to_string()),
        None => (lower.clone(), lower),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Result<Vec<Block<'_>>> {
        parse(text, Path::new("t.cif"))
    }

    #[test]
    fn values_keep_their_text_and_their_quotes() {
        let text = "data_X\n_a.b 'a dog's life'\n_A.C \"?\"\n_a.d ?\n_a.e\n; two\nlines\n;\nloop_\n_l.x _l.y\n1 2 # note\n3 Three#Mice\n";
        let all = blocks(text).unwrap();
        let block = &all[0];
        assert_eq!(
            (block.name, block.first("a", "b"), block.first("a", "c"), block.first("a", "d")),
            ("X", Some("a dog's life"), Some("?"), None)
        );
        assert_eq!(block.first("a", "e"), Some(" two\nlines"));
        let table = block.table("l").unwrap();
        assert_eq!((table.len(), table.get(1, "y"), table.lines[1]), (2, Some("Three#Mice"), 12));
    }

    #[test]
    fn what_would_lose_data_is_refused_with_its_line() {
        let message = |text: &str| blocks(text).unwrap_err().to_string();
        assert!(message("data_a\nloop_\n_l.x\n_l.y\n1 2\n3\n").starts_with("t.cif:6: the loop of `_l` has 2 columns"));
        assert!(message("data_a\n_a.b 1\n_A.B 2\n").starts_with("t.cif:3: `_A.B` is given twice"));
        assert!(message("data_a\n_a.b\n; never\nends").starts_with("t.cif:3: a text field"));
        assert!(message("data_a\n_a.b 'x\n").starts_with("t.cif:2: a value in '"));
        assert!(message("data_a\n_a.b\n").starts_with("t.cif:2: `_a.b` has no value"));
        assert!(message("data_a\n_a.b x y\n").starts_with("t.cif:2: the value `y` belongs to no tag"));
        assert!(message("data_a\n_a.b \0\n").starts_with("t.cif:2: a NUL byte"));
    }
}
