// o[b,i,h] = sum_j softmax_j(scale q[b,i,h].k[b,j,h] + bias[h,i,j]) v[b,j,h],  y = sigmoid(gate) o.  No logits are stored.
// Register arrays are only indexed by constants.
#import attention
#storage q
#storage k
#storage v
#storage keep
#storage bias
#storage gate
#storage y
#storage stats
#storage mask
override GATE: bool = true;
struct Params {
    n_b: u32, n_q: u32, n_k: u32, heads: u32, shift: u32, scale: f32,
    qb: u32, ql: u32, qh: u32, kb: u32, kl: u32, kh: u32, vb: u32, vl: u32, vh: u32, gb: u32, gl: u32, gh: u32,
    mb: u32, mk: u32,
    first: u32, run: u32, biases: u32, bh: u32, bt: u32, bq: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
var<workgroup> packed: array<f32, 64>;


// Logits of keys j .. j+3 from their products: bias added, masked ones replaced (QUIRKS 3), keys past the end below all.
fn logits(s: vec4<f32>, b: u32, pairs: u32, j: u32) -> vec4<f32> {
    var x = s;
    if BIAS { x += bias_ld4(pairs + (j >> 2u)); }
    if MASK { x = select(vec4<f32>(-1e9), x, keep_ld4(b * groups(p.n_k) + (j >> 2u)) != vec4<f32>(0.0)); }
    return select(vec4<f32>(BEYOND), x, four_of(j) < vec4<u32>(p.n_k));
}

// One invocation a query; a workgroup covers 2^shift queries of 64 >> shift rows for one head. Running maximum and sum; log-sum-exp is kept.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let row = at.z * (64u >> p.shift) + (lane >> p.shift);
    let query = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    let inside = row < p.n_b && query < p.n_q;
    let b = min(row, p.n_b - 1u);
    let i = min(query, p.n_q - 1u);
    let h = at.y;
    let last = p.n_k - 1u;
    var x: array<vec4<f32>, 8>;
    var o: array<vec4<f32>, 8>;
    let start = b * p.qb + i * p.ql + h * p.qh;
#repeat n 8
    if DG > $nu { x[$n] = q_ld4(start + $nu) * p.scale; }
#end
    let keys = b * p.kb + h * p.kh;
    let values = b * p.vb + h * p.vh;
    let pairs = h * p.bh + bias_of(b) * p.bt + i * p.bq;
    var top = BEYOND;
    var sum = 0.0;
    for (var j = 0u; j < p.n_k; j += 4u) {
        let at1 = min(j + 1u, last);
        let at2 = min(j + 2u, last);
        let at3 = min(j + 3u, last);
        let k0 = keys + j * p.kl;
        let k1 = keys + at1 * p.kl;
        let k2 = keys + at2 * p.kl;
        let k3 = keys + at3 * p.kl;
        var s = vec4<f32>(0.0);
#repeat n 8
    if DG > $nu { s += vec4<f32>(dot(x[$n], k_ld4(k0 + $nu)), dot(x[$n], k_ld4(k1 + $nu)), dot(x[$n], k_ld4(k2 + $nu)), dot(x[$n], k_ld4(k3 + $nu))); }
#end
        s = logits(s, b, pairs, j);
        let higher = max(top, max(max(s.x, s.y), max(s.z, s.w)));
        let shrink = exp(top - higher);
        let e = exp(s - higher);
        sum = sum * shrink + add(e);
        top = higher;
        let v0 = values + j * p.vl;
        let v1 = values + at1 * p.vl;
        let v2 = values + at2 * p.vl;
        let v3 = values + at3 * p.vl;
#repeat n 8
    if VG > $nu { o[$n] = o[$n] * shrink + e.x * v_ld4(v0 + $nu) + e.y * v_ld4(v1 + $nu) + e.z * v_ld4(v2 + $nu) + e.w * v_ld4(v3 + $nu); }
#end
    }
    if inside {
        let to = ((b * p.n_q + i) * p.heads + h) * VG;
        let gates = b * p.gb + i * p.gl + h * p.gh;
#repeat n 8
    if VG > $nu { y_st4(to + $nu, gated(o[$n] / sum, gates + $nu)); }
#end
    }
    packed[lane] = select(0.0, top + log(sum), inside);
    workgroupBarrier();
    if inside && (query & 3u) == 0u {
        let four = vec4<f32>(packed[lane], packed[min(lane + 1u, 63u)], packed[min(lane + 2u, 63u)], packed[min(lane + 3u, 63u)]);
        let there = four_of(i) < vec4<u32>(p.n_q);
        stats_st4((b * p.heads + h) * groups(p.n_q) + (i >> 2u), select(vec4<f32>(0.0), four, there));
    }
}
fn gated(o: vec4<f32>, i: u32) -> vec4<f32> {
    if GATE { return o / (1.0 + exp(-gate_ld4(i))); }
    return o;
}

// keep[b, j] = 1 where the mask is not zero; the mask may be any strided view. A workgroup covers 2^shift groups of 64 >> shift rows.
@compute @workgroup_size(64)
fn mask_in(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    let b = at.y * (64u >> p.shift) + (lane >> p.shift);
    if g >= groups(p.n_k) || b >= p.n_b { return; }
    keep_st4(b * groups(p.n_k) + g, vec4<f32>(kept(b, g * 4u), kept(b, g * 4u + 1u), kept(b, g * 4u + 2u), kept(b, g * 4u + 3u)));
}
fn kept(b: u32, j: u32) -> f32 {
    if j >= p.n_k { return 0.0; }
    return select(0.0, 1.0, mask_ld(b * p.mb + j * p.mk) != 0.0);
}
