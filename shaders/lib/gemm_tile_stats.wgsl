// Where statistics are made by the tile that needs them: four invocations own a row; those of the first tile of columns store them.
override OWN: bool = false;
var<workgroup> stats_held: array<f32, 256>;

// The sum over the four invocations of a row, in the same order for all of them.
fn sum4(lane: u32, v: f32) -> f32 {
    workgroupBarrier();
    stats_held[lane] = v;
    workgroupBarrier();
    let first = lane & 252u;
    return (stats_held[first] + stats_held[first + 1u]) + (stats_held[first + 2u] + stats_held[first + 3u]);
}
fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Mean and 1 / std of a row of A, biased variance in two passes; added in the order of `basic/layer_norm`, where eight invocations own a row: each
// of the four here stands for two of them.
fn own_stats(batch: vec2<u32>, i: u32, lane: u32) -> vec2<f32> {
    let base = batch.x * p.as0 + batch.y * p.as1 + min(i, p.m - 1u) * p.as2;
    let groups = (p.k + 3u) / 4u;
    let first = (lane & 3u) * 2u;
#repeat e 2
    var sum$e = vec4<f32>(0.0);
    for (var q = first + $eu; q < groups; q += 8u) { sum$e += a_ld4(base + q); }
#end
    let mean = sum4(lane, total(sum0) + total(sum1)) / f32(p.k);
#repeat e 2
    var square$e = vec4<f32>(0.0);
    for (var q = first + $eu; q < groups; q += 8u) {
        let d = (a_ld4(base + q) - mean) * lanes(q, p.k);
        square$e += d * d;
    }
#end
    return vec2<f32>(mean, 1.0 / sqrt(sum4(lane, total(square0) + total(square1)) / f32(p.k) + p.eps));
}
fn tile_stats(batch: vec2<u32>, i: u32, lane: u32, first: bool) -> vec2<f32> {
    if TA { return vec2<f32>(0.0, 1.0); }
    if !OWN { return row_stats(batch, min(i, p.m - 1u)); }
    let s = own_stats(batch, i, lane);
    if first && (lane & 3u) == 0u && i < p.m { stats_st4(stats_place(batch, i), vec4<f32>(s, 0.0, 0.0)); }
    return s;
}
