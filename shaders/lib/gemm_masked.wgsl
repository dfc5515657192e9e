// C = act(sum + bias) * mask + residual; the mask is one group for each row, by the strides of statistics.
fn finish(batch: vec2<u32>, row: u32, g: u32, sum: vec4<f32>) {
    if row >= p.m || g >= p.ng { return; }
    var v = activated(g, sum);
    if p.extra == 1u {
        v = v * mask_ld4(batch.x * p.ss0 + batch.y * p.ss1 + row * p.ss2).x + extra_ld4(extra_place(batch, row) + g);
    }
    c_st4(c_place(batch, row, g), v * lanes(g, p.n));
}
