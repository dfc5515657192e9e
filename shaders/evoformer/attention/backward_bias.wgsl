// The gradient of a pair bias: `evoformer/attention_backward` for all heads of a group at once.
//   P = exp(S - lse),  dP = dO v',  dS = P (dP - delta)
#import attention
#storage q
#storage k
#storage v
#storage bias
#storage go
#storage aux
#storage dbias
#import attention_rows

// dbias[t, i, j, h] = sum_b dS_ij: one invocation four queries by four keys of one head, over the rows b of t in order; a workgroup 16 queries
// by 32 keys of a group of four heads, which are exchanged so that an invocation writes four pairs of all of them. Both the bias, here as it was
// given, and its gradient are [.., heads] with a stride for tiles of 32 keys, w. and x. A launch with `chain` goes on from what the last one
// stored, so that the order of addition does not depend on how many rows a binding holds.
var<workgroup> sums: array<vec4<f32>, 512>;
fn pair_place(i: u32, j: u32, tile: u32, by_i: u32, by_j: u32) -> u32 { return (j >> 5u) * tile + i * by_i + (j & 31u) * by_j; }
@compute @workgroup_size(8, 4, 4)
fn backward_bias(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let at = grid(wg);
    // What is beyond the last repeats it, and is not written.
    let i = min(at.x * 16u + id.y * 4u, (p.n_q - 1u) & ~3u);
    let j = min(at.y * 32u + id.x * 4u, (p.n_k - 1u) & ~3u);
    let heads = (p.heads + 3u) >> 2u;
    let t = at.z / heads;
    let g = at.z % heads;
    let h = min(g * 4u + id.z, p.heads - 1u);
    let ii = min(four_of(i), vec4<u32>(p.n_q - 1u));
    let jj = min(four_of(j), vec4<u32>(p.n_k - 1u));
    // The four pairs that this invocation writes, and where their heads lie in `sums`.
    let own_i = at.x * 16u + id.z * 4u + id.y;
    let own_j = at.y * 32u + id.x * 4u;
    let own = (id.z * 4u + id.y) * 8u + id.x;
    var to: array<u32, 4>;
#repeat n 4
    to[$n] = pair_place(own_i, own_j + $nu, p.xb, p.xl, p.xh) + t * p.xt + g;
#end
    if p.chain == 1u {
        var before: mat4x4<f32>;
#repeat n 4
        if own_i < p.n_q && own_j + $nu < p.n_k { before[$n] = dbias_ld4(to[$n]); }
#end
        before = transpose(before);
#repeat n 4
        sums[$nu * 128u + own] = before[$n];
#end
    }
    workgroupBarrier();
    var sum: array<vec4<f32>, 4>;
    var base: array<vec4<f32>, 4>;
#repeat n 4
    if p.chain == 1u { sum[$n] = sums[(id.z * 16u + id.y * 4u + $nu) * 8u + id.x]; }
#repeat m 4
    base[$n][$m] = bias_ld((pair_place(ii[$n], jj[$m], p.wb, p.wl, p.wh) + t * p.wt) * 4u + h);
#end
#end
    for (var r = 0u; r < p.n_b / p.biases; r++) {
        let b = row_of(r, t);
        let q0 = b * p.qb + h * p.qh + ii * p.ql;
        let k0 = b * p.kb + h * p.kh + jj * p.kl;
        let v0 = b * p.vb + h * p.vh + jj * p.vl;
        let lse = aux_ld4(aux_row(b, 2u * h) + (i >> 2u));
        let delta = aux_ld4(aux_row(b, 2u * h + 1u) + (i >> 2u));
        let keep = kept(b, j);
        var s: array<vec4<f32>, 4>;
        var t: array<vec4<f32>, 4>;
        for (var u = 0u; u < DG; u++) {
            let c0 = k_ld4(k0.x + u) * p.scale; let c1 = k_ld4(k0.y + u) * p.scale;
            let c2 = k_ld4(k0.z + u) * p.scale; let c3 = k_ld4(k0.w + u) * p.scale;
#repeat n 4
    { let x = q_ld4(q0[$n] + u); s[$n] += vec4<f32>(dot(x, c0), dot(x, c1), dot(x, c2), dot(x, c3)); }
#end
        }
        for (var u = 0u; u < VG; u++) {
            let c0 = v_ld4(v0.x + u); let c1 = v_ld4(v0.y + u); let c2 = v_ld4(v0.z + u); let c3 = v_ld4(v0.w + u);
#repeat n 4
    { let x = go_ld4(go_row(b, ii[$n], h) + u); t[$n] += vec4<f32>(dot(x, c0), dot(x, c1), dot(x, c2), dot(x, c3)); }
#end
        }
#repeat n 4
    sum[$n] += select(vec4<f32>(0.0), exp(s[$n] + base[$n] - lse[$n]), keep) * (t[$n] - delta[$n]);
#end
    }
    workgroupBarrier();
#repeat n 4
    sums[(id.z * 16u + id.y * 4u + $nu) * 8u + id.x] = select(vec4<f32>(0.0), sum[$n], g * 4u + id.z < p.heads);
#end
    workgroupBarrier();
    let four = transpose(mat4x4<f32>(sums[own], sums[own + 128u], sums[own + 256u], sums[own + 384u]));
#repeat n 4
    if own_i < p.n_q && own_j + $nu < p.n_k { dbias_st4(to[$n], four[$n]); }
#end
}
