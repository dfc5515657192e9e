// C = residual + mask (sum + bias) / (1 - rate), where C is the tensor whose mask `basic/dropout` makes by the same numbers: row i n_j + j of
// it is `first` + b0 f0 + b1 f1 + row f2, and its rows are `wide` groups.
fn finish(batch: vec2<u32>, row: u32, g: u32, sum: vec4<f32>) {
    if row >= p.m || g >= p.ng { return; }
    var v = activated(g, sum);
    if p.extra == 1u {
        let flat = p.first + batch.x * p.f0 + batch.y * p.f1 + row * p.f2;
        let shared_row = select(select(flat, flat % p.run, p.share == 1u), flat / p.run, p.share == 2u);
        v = v * dropout_factor(shared_row * p.wide + p.g0 + g) + extra_ld4(extra_place(batch, row) + g);
    }
    c_st4(c_place(batch, row, g), v * lanes(g, p.n));
}
