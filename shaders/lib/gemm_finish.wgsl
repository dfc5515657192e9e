// C = act(sum + bias) * mask, or + residual, or where a ReLU's result is above zero.
fn finish(batch: vec2<u32>, row: u32, g: u32, sum: vec4<f32>) {
    if row >= p.m || g >= p.ng { return; }
    var v = activated(g, sum);
    let at = extra_place(batch, row);
    if p.extra == 1u { v += extra_ld4(at + g); }
    if p.extra == 2u { v *= extra_ld4(at).x; }
    if p.extra == 3u { v = select(vec4<f32>(0.0), v, extra_ld4(at + g) > vec4<f32>(0.0)); }
    c_st4(c_place(batch, row, g), v * lanes(g, p.n));
}
