// A product's tiles for GPUs: 64 x 64 outputs and 16 k in workgroup memory, four rows by four columns an invocation. Each operand lies in
// workgroup memory as it is stored; a group of four by four is turned in registers.
// 64 rows of 4 groups, each row followed by one group that keeps rows in different banks; or 16 rows of 16 groups.
var<workgroup> a_tile: array<vec4<f32>, 320>;
var<workgroup> b_tile: array<vec4<f32>, 320>;

@compute @workgroup_size(256)
fn gemm(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let batch = vec2<u32>(at.z, at.y / p.n_tiles);
    let tile_n = at.y % p.n_tiles;
    let y = lane >> 4u;
    let x = lane & 15u;
    let row = at.x * 64u + y * 4u;
    let g = tile_n * 16u + x;
    // A split sum: batch axis 0 counts blocks of k rows, and the last block may be short.
    let k_end = min(p.k, p.k_all - select(0u, batch.x * p.k, p.k_all > p.k));
    let k_last = (k_end - 1u) >> 2u;
    let a_base = batch.x * p.as0 + batch.y * p.as1;
    let b_base = batch.x * p.bs0 + batch.y * p.bs1;
#repeat i 4
    var c$i = begin(batch, row + $iu, g);
#end
    // Statistics of the row that this invocation loads.
    let stats = tile_stats(batch, at.x * 64u + (lane >> 2u), lane, at.y % p.n_tiles == 0u);
    let sums = SUMS && at.x == 0u && y == 0u;
    var e: vec4<f32>;
    if sums { e = begin_sums(batch, g); }
    for (var k = 0u; k < k_end; k += 16u) {
        // Beyond the last k a row that is stored [.., k] has no group: A is zero there.
        if TA {
            let v = a_at(batch.x, a_base, k + y, at.x * 16u + x, k_end);
            let i = min(k + y, k_end - 1u);
            a_tile[lane] = select(vec4<f32>(0.0), shaped(v, row_stats(batch, i), min(at.x * 16u + x, p.mg - 1u)), k + y < k_end);
        } else {
            let q = (k >> 2u) + (lane & 3u);
            let v = shaped(a_at(batch.x, a_base, at.x * 64u + (lane >> 2u), min(q, k_last), k_end), stats, min(q, k_last));
            a_tile[(lane >> 2u) * 5u + (lane & 3u)] = select(vec4<f32>(0.0), v, q <= k_last);
        }
        if TB {
            b_tile[(lane >> 2u) * 5u + (lane & 3u)] = b_at(b_base, tile_n * 64u + (lane >> 2u), min((k >> 2u) + (lane & 3u), k_last), k_end);
        } else { b_tile[lane] = b_at(b_base, k + y, g, k_end); }
        workgroupBarrier();
#repeat q 4
        {
            var s: mat4x4<f32>;
            if TA { s = transpose(mat4x4<f32>(a_tile[$qu * 64u + y], a_tile[$qu * 64u + 16u + y], a_tile[$qu * 64u + 32u + y], a_tile[$qu * 64u + 48u + y])); }
            else { s = mat4x4<f32>(a_tile[y * 20u + $qu], a_tile[y * 20u + 5u + $qu], a_tile[y * 20u + 10u + $qu], a_tile[y * 20u + 15u + $qu]); }
            var t: mat4x4<f32>;
            if TB { t = transpose(mat4x4<f32>(b_tile[x * 20u + $qu], b_tile[x * 20u + 5u + $qu], b_tile[x * 20u + 10u + $qu], b_tile[x * 20u + 15u + $qu])); }
            else { t = mat4x4<f32>(b_tile[$qu * 64u + x], b_tile[$qu * 64u + 16u + x], b_tile[$qu * 64u + 32u + x], b_tile[$qu * 64u + 48u + x]); }
            if sums {
#repeat i 4
                if k + $qu * 4u + $iu < k_end { e += t[$i]; }
#end
            }
#repeat i 4
            c$i += s[$i].x * t[0]; c$i += s[$i].y * t[1]; c$i += s[$i].z * t[2]; c$i += s[$i].w * t[3];
#end
        }
#end
        workgroupBarrier();
    }
    if sums { finish_sums(batch, g, e); }
#repeat i 4
    finish(batch, row + $iu, g, c$i);
#end
    if TURN { turn(batch, row, g, mat4x4<f32>(c0, c1, c2, c3)); }
}
