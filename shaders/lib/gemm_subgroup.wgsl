// A product's tiles for CPUs: one subgroup of eight lanes a workgroup and no barriers. The tile is 16 rows by 64 columns: a lane holds 16 rows
// of eight columns, loads two groups of A for every four k, and hands them round.
enable subgroups;
// Group `q` of m of row `i` of k; rows beyond the sum are zero.
fn shaped_row(batch: vec2<u32>, base: u32, i: u32, q: u32, k_end: u32) -> vec4<f32> {
    let v = shaped(a_at(batch.x, base, i, q, k_end), row_stats(batch, min(i, k_end - 1u)), min(q, p.mg - 1u));
    return select(vec4<f32>(0.0), v, i < k_end);
}

@compute @workgroup_size(8)
fn gemm(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    let batch = vec2<u32>(at.z, at.y / p.n_tiles);
    let row = at.x * 16u;
    let g = (at.y % p.n_tiles) * 16u + lane * 2u;
    // A split sum: batch axis 0 counts blocks of k rows, and the last block may be short.
    let k_end = min(p.k, p.k_all - select(0u, batch.x * p.k, p.k_all > p.k));
    let a_base = batch.x * p.as0 + batch.y * p.as1;
    let b_base = batch.x * p.bs0 + batch.y * p.bs1;
#repeat h 2
#repeat q 2
#repeat e 4
    var c$h$q$e_0 = begin(batch, row + $hu * 8u + $qu * 4u + $eu, g);
    var c$h$q$e_1 = begin(batch, row + $hu * 8u + $qu * 4u + $eu, g + 1u);
#end
#end
#end
    // Statistics of the rows that this lane loads.
#repeat h 2
    var t$h = vec2<f32>(0.0, 1.0);
    if !TA { t$h = row_stats(batch, min(row + $hu * 8u + lane, p.m - 1u)); }
#end
    let sums = SUMS && at.x == 0u;
    var e0: vec4<f32>; var e1: vec4<f32>;
    if sums { e0 = begin_sums(batch, g); e1 = begin_sums(batch, g + 1u); }
    for (var q = 0u; q * 4u < k_end; q++) {
        var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
        var d0: vec4<f32>; var d1: vec4<f32>; var d2: vec4<f32>; var d3: vec4<f32>;
        if TB {
            let x = transpose(mat4x4<f32>(b_at(b_base, g * 4u, q, k_end), b_at(b_base, g * 4u + 1u, q, k_end),
                b_at(b_base, g * 4u + 2u, q, k_end), b_at(b_base, g * 4u + 3u, q, k_end)));
            let y = transpose(mat4x4<f32>(b_at(b_base, g * 4u + 4u, q, k_end), b_at(b_base, g * 4u + 5u, q, k_end),
                b_at(b_base, g * 4u + 6u, q, k_end), b_at(b_base, g * 4u + 7u, q, k_end)));
#repeat k 4
            b$k = x[$k]; d$k = y[$k];
#end
        } else {
#repeat k 4
            b$k = b_at(b_base, q * 4u + $ku, g, k_end);
            d$k = b_at(b_base, q * 4u + $ku, g + 1u, k_end);
#end
        }
        if sums {
#repeat k 4
            if q * 4u + $ku < k_end { e0 += b$k; e1 += d$k; }
#end
        }
        if TA {
#repeat h 2
            let a$h = shaped_row(batch, a_base, q * 4u + (lane & 3u), at.x * 4u + $hu * 2u + (lane >> 2u), k_end);
#end
#repeat k 4
#repeat h 2
#repeat q 2
#repeat e 4
            let s$k$h$q$e = subgroupBroadcast(a$h[$e], $qu * 4u + $ku);
            c$h$q$e_0 += s$k$h$q$e * b$k;
            c$h$q$e_1 += s$k$h$q$e * d$k;
#end
#end
#end
#end
        } else {
#repeat h 2
            let a$h = shaped(a_at(batch.x, a_base, row + $hu * 8u + lane, q, k_end), t$h, q);
#end
#repeat k 4
#repeat h 2
#repeat q 2
#repeat e 4
            let s$k$h$q$e = subgroupBroadcast(a$h[$k], $qu * 4u + $eu);
            c$h$q$e_0 += s$k$h$q$e * b$k;
            c$h$q$e_1 += s$k$h$q$e * d$k;
#end
#end
#end
#end
        }
    }
    if sums { finish_sums(batch, g, e0); finish_sums(batch, g + 1u, e1); }
#repeat h 2
#repeat q 2
#repeat e 4
    finish(batch, row + $hu * 8u + $qu * 4u + $eu, g, c$h$q$e_0);
    finish(batch, row + $hu * 8u + $qu * 4u + $eu, g + 1u, c$h$q$e_1);
#end
    if TURN {
        turn(batch, row + $hu * 8u + $qu * 4u, g, mat4x4<f32>(c$h$q0_0, c$h$q1_0, c$h$q2_0, c$h$q3_0));
        turn(batch, row + $hu * 8u + $qu * 4u, g + 1u, mat4x4<f32>(c$h$q0_1, c$h$q1_1, c$h$q2_1, c$h$q3_1));
    }
#end
#end
}
