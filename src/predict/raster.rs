//! A small drawing surface and its PNG file: lines, boxes and labels, no more than plots need. Knows nothing of proteins.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Black.
pub const BLACK: Colour = [0, 0, 0];
/// White.
pub const WHITE: Colour = [255, 255, 255];
/// Lines that should not stand out.
pub const GREY: Colour = [200, 200, 200];

/// Width and height of a letter with the space after it, at scale 1.
pub const LETTER: (i32, i32) = (6, 7);

/// A picture, row by row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A white picture.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![WHITE; width * height] }
    }

    /// Colours a pixel; outside the picture nothing happens.
    pub fn dot(&mut self, x: i32, y: i32, colour: Colour) {
        let place = usize::try_from(x).ok().zip(usize::try_from(y).ok()).filter(|&(x, y)| x < self.width && y < self.height);
        if let Some((x, y)) = place {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// A filled box with its upper left corner at (x, y).
    pub fn fill(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), colour: Colour) {
        (y..y + height).for_each(|j| (x..x + width).for_each(|i| self.dot(i, j, colour)));
    }

    /// The outline of a box that encloses the given inside.
    pub fn frame(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), colour: Colour) {
        self.fill((x - 1, y - 1), (width + 2, 1), colour);
        self.fill((x - 1, y + height), (width + 2, 1), colour);
        self.fill((x - 1, y - 1), (1, height + 2), colour);
        self.fill((x + width, y - 1), (1, height + 2), colour);
    }

    /// A line two pixels wide.
    pub fn line(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), colour: Colour) {
        let steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().max(1.0);
        for k in 0..=steps as usize {
            let t = k as f64 / steps;
            let (x, y) = ((x0 + t * (x1 - x0)).round() as i32, (y0 + t * (y1 - y0)).round() as i32);
            self.fill((x, y), (2, 2), colour);
        }
    }

    /// A label with its upper left corner at (x, y); capital letters are drawn for small ones, and a box for what has no glyph.
    pub fn text(&mut self, (x, y): (i32, i32), scale: i32, text: &str, colour: Colour) {
        for (k, c) in text.chars().enumerate() {
            for (row, bits) in glyph(c).iter().enumerate() {
                for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                    let at = (x + (k as i32 * LETTER.0 + column) * scale, y + row as i32 * scale);
                    self.fill(at, (scale, scale), colour);
                }
            }
        }
    }

    /// The PNG file (RFC 2083): 8 bits a channel, no dates, the same bytes for the same picture.
    pub fn png(&self) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        for row in self.pixels.chunks_exact(self.width) {
            // Filter type 0: none.
            packed.write_all(&[0]).and_then(|()| packed.write_all(row.as_flattened())).expect("writing to memory cannot fail");
        }
        let packed = packed.finish().expect("writing to memory cannot fail");
        let mut header = Vec::new();
        header.extend((self.width as u32).to_be_bytes());
        header.extend((self.height as u32).to_be_bytes());
        // Bits, RGB, deflate, adaptive filters, no interlace.
        header.extend([8, 2, 0, 0, 0]);
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in [(b"IHDR", &header), (b"IDAT", &packed), (b"IEND", &Vec::new())] {
            file.extend((content.len() as u32).to_be_bytes());
            let start = file.len();
            file.extend(kind);
            file.extend(content);
            file.extend(crc32fast::hash(&file[start..]).to_be_bytes());
        }
        file
    }
}

/// The width of a label.
pub fn text_width(text: &str, scale: i32) -> i32 {
    text.chars().count() as i32 * LETTER.0 * scale
}

/// A colour between stops that lie evenly over 0 to 1.
pub fn between(stops: &[Colour], at: f64) -> Colour {
    let place = at.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let k = (place as usize).min(stops.len() - 2);
    let t = place - k as f64;
    std::array::from_fn(|c| (f64::from(stops[k][c]) * (1.0 - t) + f64::from(stops[k + 1][c]) * t).round() as u8)
}

/// Seven rows of five bits, the leftmost the highest.
fn glyph(c: char) -> [u8; 7] {
    match c.to_ascii_uppercase() {
        ' ' => [0; 7],
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 6, 8, 16, 31],
        '3' => [14, 17, 1, 6, 1, 17, 14],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        'A' => [14, 17, 17, 31, 17, 17, 17],
        'B' => [30, 17, 17, 30, 17, 17, 30],
        'C' => [14, 17, 16, 16, 16, 17, 14],
        'D' => [30, 17, 17, 17, 17, 17, 30],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'F' => [31, 16, 16, 30, 16, 16, 16],
        'G' => [14, 17, 16, 23, 17, 17, 15],
        'H' => [17, 17, 17, 31, 17, 17, 17],
        'I' => [14, 4, 4, 4, 4, 4, 14],
        'J' => [7, 2, 2, 2, 2, 18, 12],
        'K' => [17, 18, 20, 24, 20, 18, 17],
        'L' => [16, 16, 16, 16, 16, 16, 31],
        'M' => [17, 27, 21, 21, 17, 17, 17],
        'N' => [17, 25, 21, 19, 17, 17, 17],
        'O' => [14, 17, 17, 17, 17, 17, 14],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'Q' => [14, 17, 17, 17, 21, 18, 13],
        'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        'T' => [31, 4, 4, 4, 4, 4, 4],
        'U' => [17, 17, 17, 17, 17, 17, 14],
        'V' => [17, 17, 17, 17, 17, 10, 4],
        'W' => [17, 17, 17, 21, 21, 27, 17],
        'X' => [17, 10, 4, 4, 4, 10, 17],
        'Y' => [17, 10, 4, 4, 4, 4, 4],
        'Z' => [31, 1, 2, 4, 8, 16, 31],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        ',' => [0, 0, 0, 0, 12, 4, 8],
        '-' => [0, 0, 0, 31, 0, 0, 0],
        '_' => [0, 0, 0, 0, 0, 0, 31],
        '/' => [1, 1, 2, 4, 8, 16, 16],
        '(' => [2, 4, 8, 8, 8, 4, 2],
        ')' => [8, 4, 2, 2, 2, 4, 8],
        ':' => [0, 12, 12, 0, 12, 12, 0],
        '%' => [25, 25, 2, 4, 8, 19, 19],
        _ => [31, 17, 17, 17, 17, 17, 31],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_png_of_the_picture() {
        let mut canvas = Canvas::new(3, 2);
        canvas.dot(1, 1, [10, 20, 30]);
        canvas.dot(-1, 5, BLACK);
        let file = canvas.png();
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&file[8..29], [&[0, 0, 0, 13][..], b"IHDR", &[0, 0, 0, 3, 0, 0, 0, 2, 8, 2, 0, 0, 0]].concat());
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&file[41..41 + length]), &mut rows).unwrap();
        let white = [255; 3];
        assert_eq!(rows, [&[0][..], &white, &white, &white, &[0], &white, &[10, 20, 30], &white].concat());
        assert_eq!(&file[file.len() - 12..], [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82]);
    }

    #[test]
    fn colours_between_stops() {
        let stops = [[0, 0, 0], [100, 0, 0], [200, 200, 0]];
        assert_eq!(
            [0.0, 0.25, 0.75, 1.0, 9.0].map(|t| between(&stops, t)),
            [[0; 3], [50, 0, 0], [150, 100, 0], [200, 200, 0], [200, 200, 0]]
        );
    }
}
