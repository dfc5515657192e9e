//! Global alignment of two sequences by identity, with affine gaps that cost nothing at the ends (Needleman and Wunsch 1970, Gotoh 1982).
//!
//! For sequences that are the same protein with other numbering, missing residues or a few substitutions; remote homologues need a profile.

/// Largest table of an alignment, in cells; two sequences of 10,000 fit.
pub const MAX_CELLS: usize = 110_000_000;

const MATCH: i32 = 5;
const MISMATCH: i32 = -4;
const GAP_OPEN: i32 = -10;
const GAP_EXTEND: i32 = -1;

/// Pairs (index in `a`, index in `b`) of aligned residues in rising order, identical or not; `None` when the table would be larger than
/// [`MAX_CELLS`].
pub fn align(a: &[u8], b: &[u8]) -> Option<Vec<(usize, usize)>> {
    let width = b.len() + 1;
    if (a.len() + 1).checked_mul(width)? > MAX_CELLS {
        return None;
    }
    // Per cell: bits 0-1 say where the best score comes from (0 pair, 1 gap in b, 2 gap in a), bit 2 and 3 whether those gaps go on.
    let mut from = vec![0_u8; (a.len() + 1) * width];
    let mut best = vec![0_i32; width];
    let mut gap_in_b = vec![i32::MIN / 2; width];
    for (i, &x) in a.iter().enumerate() {
        let mut diagonal = best[0];
        let mut gap_in_a = i32::MIN / 2;
        for (j, &y) in b.iter().enumerate() {
            // Gaps at either end are free.
            let (open_b, extend_b) = if j + 1 == b.len() { (0, 0) } else { (GAP_OPEN, GAP_EXTEND) };
            let (open_a, extend_a) = if i + 1 == a.len() { (0, 0) } else { (GAP_OPEN, GAP_EXTEND) };
            let pair = diagonal + if x == y { MATCH } else { MISMATCH };
            let (go_b, up) = (gap_in_b[j + 1] + extend_b, best[j + 1] + open_b);
            let (go_a, left) = (gap_in_a + extend_a, best[j] + open_a);
            gap_in_b[j + 1] = go_b.max(up);
            gap_in_a = go_a.max(left);
            let (score, source) =
                [(pair, 0_u8), (gap_in_b[j + 1], 1), (gap_in_a, 2)].into_iter().fold((i32::MIN, 0), |m, c| if c.0 > m.0 { c } else { m });
            from[(i + 1) * width + j + 1] = source | u8::from(go_b > up) << 2 | u8::from(go_a > left) << 3;
            diagonal = std::mem::replace(&mut best[j + 1], score);
        }
    }
    Some(trace_back(&from, a.len(), b.len()))
}

fn trace_back(from: &[u8], mut i: usize, mut j: usize) -> Vec<(usize, usize)> {
    let width = j + 1;
    let mut pairs = Vec::new();
    let mut state = 0;
    while i > 0 && j > 0 {
        let cell = from[i * width + j];
        if state == 0 {
            state = cell & 3;
        }
        match state {
            1 => {
                state = if cell & 4 != 0 { 1 } else { 0 };
                i -= 1;
            }
            2 => {
                state = if cell & 8 != 0 { 2 } else { 0 };
                j -= 1;
            }
            _ => {
                pairs.push((i - 1, j - 1));
                i -= 1;
                j -= 1;
            }
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stand_where_residues_are_missing() {
        let pairs = align(b"MKTAYIAKQR", b"TAYQR").unwrap();
        assert_eq!(pairs, [(2, 0), (3, 1), (4, 2), (8, 3), (9, 4)]);
        let pairs = align(b"AAACDE", b"CDEFFF").unwrap();
        assert_eq!(pairs, [(3, 0), (4, 1), (5, 2)]);
        assert!(align(b"", b"ACD").unwrap().is_empty());
        assert_eq!(align(b"ACDEFG", b"ACWEFG").unwrap().len(), 6);
    }
}
