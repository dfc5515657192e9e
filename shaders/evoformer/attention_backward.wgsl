// Gradients of attention from the saved log-sum-exp; logits and probabilities are computed again, none is stored.
//   P = exp(S - lse),  dP = dO v',  dS = P (dP - delta),  delta = sum_c dO o,  dO = sigmoid(gate) dy
// aux [b, 2 heads + 1, max(q, k)] holds for each head a row of lse and one of delta, and last the row of kept keys.
#import attention
#storage q
#storage k
#storage v
#storage bias
#storage go
#storage aux
#storage dq
#storage dk
#storage dv
#storage part
#storage y
#storage dy
#storage gate
#storage stats
#storage dgate
#storage mask
override GATE: bool = true;
// The mask of the keys is written by `prepare`, too.
override MASKED: bool = false;
struct Params {
    n_b: u32, n_q: u32, n_k: u32, heads: u32, shift: u32, scale: f32, ag: u32, chain: u32, rows: u32,
    qb: u32, ql: u32, qh: u32, kb: u32, kl: u32, kh: u32, vb: u32, vl: u32, vh: u32, gb: u32, gl: u32, gh: u32,
    xb: u32, xl: u32, xh: u32, wb: u32, wl: u32, wh: u32, mb: u32, mk: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

fn aux_row(b: u32, r: u32) -> u32 { return (b * (2u * p.heads + 1u) + r) * p.ag; }
// dO is contiguous [b, q, heads, channels].
fn go_row(b: u32, i: u32, h: u32) -> u32 { return ((b * p.n_q + i) * p.heads + h) * VG; }
// Which of the keys j .. j+3 are there and not masked.
fn kept(b: u32, j: u32) -> vec4<bool> {
    let there = four_of(j) < vec4<u32>(p.n_k);
    if MASK { return there & (aux_ld4(aux_row(b, 2u * p.heads) + (j >> 2u)) != vec4<f32>(0.0)); }
    return there;
}

// delta = sum_c dy y  (y = sigmoid(gate) o, so that no o is needed);  dO = sigmoid(gate) dy;  dgate = dy y (1 - sigmoid(gate))
// One invocation four queries of one row and head; with `chain` dgate is not wanted. A workgroup covers 2^shift groups of queries of
// 64 >> shift rows.
@compute @workgroup_size(64)
fn prepare(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    let h = at.y;
    let b = at.z * (64u >> p.shift) + (lane >> p.shift);
    if g >= groups(p.n_q) || b >= p.n_b { return; }
    var delta = vec4<f32>(0.0);
    for (var c = 0u; c < min(4u, p.n_q - g * 4u); c++) {
        let i = g * 4u + c;
        let start = go_row(b, i, h);
        var sum = 0.0;
        for (var u = 0u; u < VG; u++) {
            let a = dy_ld4(start + u);
            let ay = a * y_ld4(start + u);
            sum += add(ay);
            if GATE {
                let s = 1.0 / (1.0 + exp(-gate_ld4(b * p.gb + i * p.gl + h * p.gh + u)));
                go_st4(start + u, a * s);
                if p.chain == 0u { dgate_st4(b * p.xb + i * p.xl + h * p.xh + u, ay * (1.0 - s)); }
            }
        }
        delta[c] = sum;
    }
    aux_st4(aux_row(b, 2u * h) + g, stats_ld4((b * p.heads + h) * groups(p.n_q) + g));
    aux_st4(aux_row(b, 2u * h + 1u) + g, delta);
    if MASKED && h == 0u { kept_keys(b, g); }
}

@compute @workgroup_size(64)
fn prepare_mask(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    let b = at.y * (64u >> p.shift) + (lane >> p.shift);
    if g >= groups(p.n_k) || b >= p.n_b { return; }
    kept_keys(b, g);
}
fn kept_keys(b: u32, g: u32) {
    aux_st4(aux_row(b, 2u * p.heads) + g, vec4<f32>(keep(b, g * 4u), keep(b, g * 4u + 1u), keep(b, g * 4u + 2u), keep(b, g * 4u + 3u)));
}
fn keep(b: u32, j: u32) -> f32 {
    if j >= p.n_k { return 0.0; }
    return select(0.0, 1.0, mask_ld(b * p.mb + j * p.mk) != 0.0);
}

// dq_i = scale sum_j dS_ij k_j: one invocation a query, as in the forward pass.
@compute @workgroup_size(64)
fn backward_q(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let b = at.z * (64u >> p.shift) + (lane >> p.shift);
    let i = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    if b >= p.n_b || i >= p.n_q { return; }
    let h = at.y;
    let last = p.n_k - 1u;
    var x: array<vec4<f32>, 8>;
    var g: array<vec4<f32>, 8>;
    var d: array<vec4<f32>, 8>;
    let start = b * p.qb + i * p.ql + h * p.qh;
#repeat n 8
    if DG > $nu { x[$n] = q_ld4(start + $nu) * p.scale; }
#end
    let go0 = go_row(b, i, h);
#repeat n 8
    if VG > $nu { g[$n] = go_ld4(go0 + $nu); }
#end
    let lse = aux_ld(aux_row(b, 2u * h) * 4u + i);
    let delta = aux_ld(aux_row(b, 2u * h + 1u) * 4u + i);
    for (var j = 0u; j < p.n_k; j += 4u) {
        let at = min(four_of(j), vec4<u32>(last));
        let k0 = b * p.kb + h * p.kh + at * p.kl;
        let v0 = b * p.vb + h * p.vh + at * p.vl;
        var s = vec4<f32>(0.0);
        var t = vec4<f32>(0.0);
#repeat n 8
    if DG > $nu { s += vec4<f32>(dot(x[$n], k_ld4(k0.x + $nu)), dot(x[$n], k_ld4(k0.y + $nu)), dot(x[$n], k_ld4(k0.z + $nu)), dot(x[$n], k_ld4(k0.w + $nu))); }
#end
#repeat n 8
    if VG > $nu { t += vec4<f32>(dot(g[$n], v_ld4(v0.x + $nu)), dot(g[$n], v_ld4(v0.y + $nu)), dot(g[$n], v_ld4(v0.z + $nu)), dot(g[$n], v_ld4(v0.w + $nu))); }
#end
        if BIAS { s += bias_ld4((h * p.n_q + i) * groups(p.n_k) + (j >> 2u)); }
        let e = select(vec4<f32>(0.0), exp(s - lse), kept(b, j)) * (t - delta);
#repeat n 8
    if DG > $nu { d[$n] += e.x * k_ld4(k0.x + $nu) + e.y * k_ld4(k0.y + $nu) + e.z * k_ld4(k0.z + $nu) + e.w * k_ld4(k0.w + $nu); }
#end
    }
    let to = b * p.xb + i * p.xl + h * p.xh;
#repeat n 8
    if DG > $nu { dq_st4(to + $nu, d[$n] * p.scale); }
#end
}

// dv_j = sum_i P_ij dO_i,  dk_j = scale sum_i dS_ij q_i: one invocation a key. In a row without any key P is 1/k and dS is 0.
@compute @workgroup_size(64)
fn backward_kv(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let b = at.z * (64u >> p.shift) + (lane >> p.shift);
    let j = (at.x << p.shift) + (lane & ((1u << p.shift) - 1u));
    if b >= p.n_b || j >= p.n_k { return; }
    let h = at.y;
    let last = p.n_q - 1u;
    var x: array<vec4<f32>, 8>;
    var w: array<vec4<f32>, 8>;
    var d: array<vec4<f32>, 8>;
    var c: array<vec4<f32>, 8>;
    let start = b * p.kb + j * p.kl + h * p.kh;
    let values = b * p.vb + j * p.vl + h * p.vh;
#repeat n 8
    if DG > $nu { x[$n] = k_ld4(start + $nu) * p.scale; }
#end
#repeat n 8
    if VG > $nu { w[$n] = v_ld4(values + $nu); }
#end
    let on = kept(b, j & ~3u)[j & 3u];
    for (var i = 0u; i < p.n_q; i += 4u) {
        let at = min(four_of(i), vec4<u32>(last));
        let q0 = b * p.qb + h * p.qh + at * p.ql;
        let g0 = vec4<u32>(go_row(b, at.x, h), go_row(b, at.y, h), go_row(b, at.z, h), go_row(b, at.w, h));
        let lse = aux_ld4(aux_row(b, 2u * h) + (i >> 2u));
        let delta = aux_ld4(aux_row(b, 2u * h + 1u) + (i >> 2u));
        var s = vec4<f32>(0.0);
        var t = vec4<f32>(0.0);
#repeat n 8
    if DG > $nu { s += vec4<f32>(dot(x[$n], q_ld4(q0.x + $nu)), dot(x[$n], q_ld4(q0.y + $nu)), dot(x[$n], q_ld4(q0.z + $nu)), dot(x[$n], q_ld4(q0.w + $nu))); }
#end
#repeat n 8
    if VG > $nu { t += vec4<f32>(dot(w[$n], go_ld4(g0.x + $nu)), dot(w[$n], go_ld4(g0.y + $nu)), dot(w[$n], go_ld4(g0.z + $nu)), dot(w[$n], go_ld4(g0.w + $nu))); }
#end
        if BIAS {
            let row = (h * p.n_q + min(four_of(i), vec4<u32>(p.n_q - 1u))) * groups(p.n_k) * 4u + j;
            s += vec4<f32>(bias_ld(row.x), bias_ld(row.y), bias_ld(row.z), bias_ld(row.w));
        }
        let there = four_of(i) < vec4<u32>(p.n_q);
        let soft = select(vec4<f32>(0.0), exp(s - lse), there & vec4<bool>(on));
        let e = soft * (t - delta);
        // A log-sum-exp as low as the logit of a masked key: no key was kept.
        let a = select(soft, vec4<f32>(1.0 / f32(p.n_k)), there & (lse < vec4<f32>(-5e8)));
#repeat n 8
    if DG > $nu { d[$n] += e.x * q_ld4(q0.x + $nu) + e.y * q_ld4(q0.y + $nu) + e.z * q_ld4(q0.z + $nu) + e.w * q_ld4(q0.w + $nu); }
#end
#repeat n 8
    if VG > $nu { c[$n] += a.x * go_ld4(g0.x + $nu) + a.y * go_ld4(g0.y + $nu) + a.z * go_ld4(g0.z + $nu) + a.w * go_ld4(g0.w + $nu); }
#end
    }
    let to = b * p.xb + j * p.xl + h * p.xh;
    let to_v = b * p.wb + j * p.wl + h * p.wh;
#repeat n 8
    if DG > $nu { dk_st4(to + $nu, d[$n] * p.scale); }
#end
#repeat n 8
    if VG > $nu { dv_st4(to_v + $nu, c[$n]); }
#end
}

// part[h, i, j] = sum_b dS_ij: one invocation four queries by four keys of one head, over the rows b in order. A launch with `chain` goes on
// from what the last one stored, so that the order of addition does not depend on how many rows a binding holds.
@compute @workgroup_size(8, 8)
fn backward_bias(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let at = grid(wg);
    let i = at.x * 32u + id.y * 4u;
    let j = at.y * 32u + id.x * 4u;
    let h = at.z;
    if i >= p.n_q || j >= p.n_k { return; }
    let ii = min(four_of(i), vec4<u32>(p.n_q - 1u));
    let jj = min(four_of(j), vec4<u32>(p.n_k - 1u));
    let kg = groups(p.n_k);
    let to = (h * p.n_q + ii) * kg + (j >> 2u);
    var sum: array<vec4<f32>, 4>;
    var base: array<vec4<f32>, 4>;
#repeat n 4
    if p.chain == 1u { sum[$n] = part_ld4(to[$n]); }
#end
#repeat n 4
    base[$n] = bias_ld4(to[$n]);
#end
    for (var b = 0u; b < p.n_b; b++) {
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
#repeat n 4
    if i + $nu < p.n_q { part_st4(to[$n], sum[$n]); }
#end
}
