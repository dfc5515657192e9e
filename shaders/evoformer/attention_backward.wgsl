// Gradients of attention from the saved log-sum-exp; logits and probabilities are computed again, none is stored.
//   P = exp(S - lse),  dP = dO v',  dS = P (dP - delta),  delta = sum_c dO o,  dO = sigmoid(gate) dy
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
#storage y
#storage dy
#storage gate
#storage stats
#storage dgate
#storage mask
override GATE: bool = true;
// The mask of the keys is written by `prepare`, too.
override MASKED: bool = false;
#import attention_rows

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
    let pairs = h * p.bh + bias_of(b) * p.bt + i * p.bq;
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
        if BIAS { s += bias_ld4(pairs + (j >> 2u)); }
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
    let pairs = h * p.bh + bias_of(b) * p.bt;
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
            let row = (pairs + at * p.bq) * 4u + j;
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
