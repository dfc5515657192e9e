// `evoformer/attention` for CPUs: one subgroup of eight lanes a workgroup and no barriers. A lane holds four queries, one in each component of
// its registers; the lanes load keys and values together and hand them round. Register arrays are only indexed by constants.
enable subgroups;
#import attention
#import hand_round
#storage q
#storage k
#storage v
#storage keep
#storage bias
#storage gate
#storage y
#storage stats
override GATE: bool = true;
struct Params {
    n_b: u32, n_q: u32, n_k: u32, heads: u32, shift: u32, scale: f32,
    qb: u32, ql: u32, qh: u32, kb: u32, kl: u32, kh: u32, vb: u32, vl: u32, vh: u32, gb: u32, gl: u32, gh: u32,
    mb: u32, mk: u32,
    first: u32, run: u32, biases: u32, bh: u32, bt: u32, bq: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(8)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    let ig = at.x * 8u + lane;
    let h = at.y;
    let b = at.z;
    let last = p.n_k - 1u;
    let i = min(four_of(ig * 4u), vec4<u32>(p.n_q - 1u));
    let first = b * p.qb + i * p.ql + h * p.qh;
    var x: array<vec4<f32>, 32>;
    var o: array<vec4<f32>, 32>;
#repeat g 8
    if DG > $gu {
        let m = transpose(mat4x4<f32>(q_ld4(first.x + $gu), q_ld4(first.y + $gu), q_ld4(first.z + $gu), q_ld4(first.w + $gu)));
#repeat c 4
        x[$gu * 4u + $cu] = m[$c] * p.scale;
#end
    }
#end
    let keys = b * p.kb + h * p.kh;
    let values = b * p.vb + h * p.vh;
    let biases = h * p.bh + bias_of(b) * p.bt + at.x * p.bq + lane;
    var top = vec4<f32>(BEYOND);
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < p.n_k; j += 4u) {
        var rk: array<vec4<f32>, 4>;
        var rv: array<vec4<f32>, 4>;
#repeat r 4
        if $ru < loads(DG) {
            let a = share(DG, $ru, lane);
            rk[$r] = k_ld4(keys + min(j + a.x, last) * p.kl + a.y);
        }
        if $ru < loads(VG) {
            let a = share(VG, $ru, lane);
            rv[$r] = v_ld4(values + min(j + a.x, last) * p.vl + a.y);
        }
#end
        let s = products(DG, &x, rk);
#repeat e 4
        var s$e = s[$e];
#end
        if BIAS {
#repeat e 4
            s$e += bias_ld4(biases + min(j + $eu, last) * 8u);
#end
        }
        if MASK {
            let keep = keep_ld4(b * groups(p.n_k) + (j >> 2u));
#repeat e 4
            s$e = select(s$e, vec4<f32>(-1e9), keep[$e] == 0.0);
#end
        }
#repeat e 4
        s$e = select(s$e, vec4<f32>(BEYOND), j + $eu > last);
#end
        let higher = max(top, max(max(s0, s1), max(s2, s3)));
        let shrink = exp(top - higher);
#repeat e 4
        let p$e = exp(s$e - higher);
#end
        sum = sum * shrink + ((p0 + p1) + (p2 + p3));
        top = higher;
        add_rows(VG, &o, shrink, mat4x4<f32>(p0, p1, p2, p3), rv);
    }
    let to = ((b * p.n_q + i) * p.heads + h) * VG;
    let gates = b * p.gb + i * p.gl + h * p.gh;
    let inverse = 1.0 / sum;
#repeat g 8
    if VG > $gu {
        let m = transpose(mat4x4<f32>(o[$gu * 4u], o[$gu * 4u + 1u], o[$gu * 4u + 2u], o[$gu * 4u + 3u]));
#repeat e 4
        if ig * 4u + $eu < p.n_q { y_st4(to[$e] + $gu, gated(m[$e] * inverse[$e], gates[$e] + $gu)); }
#end
    }
#end
    let there = four_of(ig * 4u) < vec4<u32>(p.n_q);
    if there.x { stats_st4((b * p.heads + h) * groups(p.n_q) + ig, select(vec4<f32>(0.0), top + log(sum), there)); }
}
fn gated(o: vec4<f32>, at: u32) -> vec4<f32> {
    if GATE { return o / (1.0 + exp(-gate_ld4(at))); }
    return o;
}
