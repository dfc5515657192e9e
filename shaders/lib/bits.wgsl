// Non-finite values are found by their exponent bits: fast mathematics folds comparisons with NaN.
fn finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}
// The lanes of group `g` that lie below the logical width `n`, as 1 or 0.
fn lanes(g: u32, n: u32) -> vec4<f32> {
    let i = vec4<u32>(g * 4u, g * 4u + 1u, g * 4u + 2u, g * 4u + 3u);
    return select(vec4<f32>(0.0), vec4<f32>(1.0), i < vec4<u32>(n));
}
