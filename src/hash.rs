//! Two published functions that everything keyed by a name or a counter is made of: FNV-1a and splitmix64.
//!
//! Initial parameters, dropout's keys, the draws of the data and the golden cases' own parameters depend on their bits, which never change.
//! Knows nothing of what is hashed.

/// The step between splitmix64's states.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// FNV-1a, 64 bits.
pub fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// splitmix64's output function.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The number that splitmix64 gives from this state.
pub fn splitmix64(state: u64) -> u64 {
    mix(state.wrapping_add(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_come_out() {
        // FNV's own test suite, and the first numbers of splitmix64 from the state 1234567.
        assert_eq!((fnv1a64(""), fnv1a64("a"), fnv1a64("foobar")), (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8));
        let numbers = [0, STEP].map(|offset| splitmix64(1_234_567u64.wrapping_add(offset)));
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
