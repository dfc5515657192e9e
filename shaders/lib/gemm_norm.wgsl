// A's rows by their layer norm: (a - mean) / std * scale + offset, with the statistics (mean, 1 / std, 0, 0) of every row.
fn stats_place(batch: vec2<u32>, i: u32) -> u32 { return batch.x * p.ss0 + batch.y * p.ss1 + i * p.ss2; }
fn row_stats(batch: vec2<u32>, i: u32) -> vec2<f32> {
    if TA { return stats_ld4(stats_place(batch, 0u) + k_row(batch.x, i, p.ss1, p.ss2)).xy; }
    return stats_ld4(stats_place(batch, i)).xy;
}
// Padding stays zero because scale and offset are zero there.
fn shaped(v: vec4<f32>, s: vec2<f32>, q: u32) -> vec4<f32> { return (v - s.x) * s.y * scale_ld4(q) + offset_ld4(q); }
