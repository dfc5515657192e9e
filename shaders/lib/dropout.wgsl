// 1 / (1 - rate) or 0 for the four elements of group `number` of a mask. `seed` is (seed's low and high word, step, example, pass).
fn dropout_factor(number: u32) -> vec4<f32> {
    let s = bitcast<vec4<u32>>(seed_ld4(0u));
    let pass_number = bitcast<u32>(seed_ld(4u));
    let words = philox(vec4<u32>(number, s.z ^ (pass_number << 28u), s.w, p.key_lo), vec2<u32>(s.x, s.y ^ p.key_hi));
    return select(vec4<f32>(0.0), vec4<f32>(p.kept), words >= vec4<u32>(p.threshold));
}
