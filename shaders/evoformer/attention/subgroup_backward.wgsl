// `evoformer/attention_backward` for CPUs: one subgroup of eight lanes a workgroup and no barriers. A lane holds four queries (or four keys),
// one in each component of its registers; the lanes load the other side together and hand it round.
//   P = exp(S - lse),  dP = dO v',  dS = P (dP - delta)
enable subgroups;
#import attention
#import hand_round
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
override DBIAS: bool = true;
#import attention_rows

// dq_i = scale sum_j dS_ij k_j,  part[h, t, i, j] = sum_b dS_ij. A workgroup owns 32 queries of a head for `rows` rows of b, taken in order,
// those of one bias where its gradient is asked for: a launch with `chain` goes on from what the last one stored.
@compute @workgroup_size(8)
fn backward_q(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    let ig = at.x * 8u + lane;
    let h = at.y;
    let last = p.n_k - 1u;
    let i = min(four_of(ig * 4u), vec4<u32>(p.n_q - 1u));
    for (var r = 0u; r < p.rows; r++) {
        let b = select(at.z * p.rows + r, row_of(r, at.z), DBIAS);
        let pairs = h * p.bh + bias_of(b) * p.bt + at.x * p.bq + lane;
        let first = b * p.qb + i * p.ql + h * p.qh;
        let outs = ((b * p.n_q + i) * p.heads + h) * VG;
        var x: array<vec4<f32>, 32>;
        var w: array<vec4<f32>, 32>;
        var d: array<vec4<f32>, 32>;
#repeat g 8
        if DG > $gu {
            let m = transpose(mat4x4<f32>(q_ld4(first.x + $gu), q_ld4(first.y + $gu), q_ld4(first.z + $gu), q_ld4(first.w + $gu)));
#repeat c 4
            x[$gu * 4u + $cu] = m[$c] * p.scale;
            d[$gu * 4u + $cu] = vec4<f32>(0.0);
#end
        }
        if VG > $gu {
            let m = transpose(mat4x4<f32>(go_ld4(outs.x + $gu), go_ld4(outs.y + $gu), go_ld4(outs.z + $gu), go_ld4(outs.w + $gu)));
#repeat c 4
            w[$gu * 4u + $cu] = m[$c];
#end
        }
#end
        let lse = aux_ld4(aux_row(b, 2u * h) + min(ig, groups(p.n_q) - 1u));
        let delta = aux_ld4(aux_row(b, 2u * h + 1u) + min(ig, groups(p.n_q) - 1u));
        let keys = b * p.kb + h * p.kh;
        let values = b * p.vb + h * p.vh;
        let going = p.chain == 1u || r > 0u;
        for (var j = 0u; j < p.n_k; j += 4u) {
            var ra: array<vec4<f32>, 4>;
            var rb: array<vec4<f32>, 4>;
#repeat r 4
            if $ru < loads(DG) {
                let a = share(DG, $ru, lane);
                ra[$r] = k_ld4(keys + min(j + a.x, last) * p.kl + a.y);
            }
            if $ru < loads(VG) {
                let a = share(VG, $ru, lane);
                rb[$r] = v_ld4(values + min(j + a.x, last) * p.vl + a.y);
            }
#end
            let s = products(DG, &x, ra);
            let t = products(VG, &w, rb);
#repeat e 4
            var s$e = s[$e];
#end
            if BIAS {
#repeat e 4
                s$e += bias_ld4(pairs + min(j + $eu, last) * 8u);
#end
            }
            let on = kept(b, j);
#repeat e 4
            let u$e = select(vec4<f32>(0.0), exp(s$e - lse), on[$e]) * (t[$e] - delta);
            if DBIAS && j + $eu < p.n_k {
                var sum = u$e;
                if going { sum += part_ld4(pairs + (j + $eu) * 8u); }
                part_st4(pairs + (j + $eu) * 8u, sum);
            }
#end
            add_rows(DG, &d, vec4<f32>(1.0), mat4x4<f32>(u0, u1, u2, u3), ra);
        }
        let to = b * p.xb + i * p.xl + h * p.xh;
#repeat g 8
        if DG > $gu {
            let m = transpose(mat4x4<f32>(d[$gu * 4u], d[$gu * 4u + 1u], d[$gu * 4u + 2u], d[$gu * 4u + 3u]));
#repeat e 4
            if ig * 4u + $eu < p.n_q { dq_st4(to[$e] + $gu, m[$e] * p.scale); }
#end
        }
#end
    }
}

// dv_j = sum_i P_ij dO_i,  dk_j = scale sum_i dS_ij q_i. In a row without any key P is 1/k and dS is 0.
@compute @workgroup_size(8)
fn backward_kv(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    let jg = at.x * 8u + lane;
    let h = at.y;
    let b = at.z;
    let last = p.n_q - 1u;
    let j = min(four_of(jg * 4u), vec4<u32>(p.n_k - 1u));
    let pairs = h * p.bh + bias_of(b) * p.bt + at.x * p.bq + lane;
    let keys = b * p.kb + j * p.kl + h * p.kh;
    let values = b * p.vb + j * p.vl + h * p.vh;
    var x: array<vec4<f32>, 32>;
    var w: array<vec4<f32>, 32>;
    var d: array<vec4<f32>, 32>;
    var f: array<vec4<f32>, 32>;
#repeat g 8
    if DG > $gu {
        let m = transpose(mat4x4<f32>(k_ld4(keys.x + $gu), k_ld4(keys.y + $gu), k_ld4(keys.z + $gu), k_ld4(keys.w + $gu)));
#repeat c 4
        x[$gu * 4u + $cu] = m[$c] * p.scale;
#end
    }
    if VG > $gu {
        let m = transpose(mat4x4<f32>(v_ld4(values.x + $gu), v_ld4(values.y + $gu), v_ld4(values.z + $gu), v_ld4(values.w + $gu)));
#repeat c 4
        w[$gu * 4u + $cu] = m[$c];
#end
    }
#end
    let on = kept(b, jg * 4u);
    for (var i = 0u; i < p.n_q; i += 4u) {
        var ra: array<vec4<f32>, 4>;
        var rb: array<vec4<f32>, 4>;
#repeat r 4
        if $ru < loads(DG) {
            let a = share(DG, $ru, lane);
            ra[$r] = q_ld4(b * p.qb + min(i + a.x, last) * p.ql + h * p.qh + a.y);
        }
        if $ru < loads(VG) {
            let a = share(VG, $ru, lane);
            rb[$r] = go_ld4(((b * p.n_q + min(i + a.x, last)) * p.heads + h) * VG + a.y);
        }
#end
        let s = products(DG, &x, ra);
        let t = products(VG, &w, rb);
#repeat e 4
        var s$e = s[$e];
#end
        if BIAS {
#repeat e 4
            s$e += bias_ld4(pairs + min(i + $eu, last) * 8u);
#end
        }
        let lse = aux_ld4(aux_row(b, 2u * h) + (i >> 2u));
        let delta = aux_ld4(aux_row(b, 2u * h + 1u) + (i >> 2u));
#repeat e 4
        let there$e = i + $eu < p.n_q;
        let soft$e = select(vec4<f32>(0.0), exp(s$e - lse[$e]), on & vec4<bool>(there$e));
        let u$e = soft$e * (t[$e] - delta[$e]);
        // A log-sum-exp as low as the logit of a masked key: no key was kept.
        let a$e = select(soft$e, vec4<f32>(1.0 / f32(p.n_k)), there$e && lse[$e] < -5e8);
#end
        add_rows(DG, &d, vec4<f32>(1.0), mat4x4<f32>(u0, u1, u2, u3), ra);
        add_rows(VG, &f, vec4<f32>(1.0), mat4x4<f32>(a0, a1, a2, a3), rb);
    }
    let to = b * p.xb + j * p.xl + h * p.xh;
    let to_v = b * p.wb + j * p.wl + h * p.wh;
#repeat g 8
    if DG > $gu {
        let m = transpose(mat4x4<f32>(d[$gu * 4u], d[$gu * 4u + 1u], d[$gu * 4u + 2u], d[$gu * 4u + 3u]));
#repeat e 4
        if jg * 4u + $eu < p.n_k { dk_st4(to[$e] + $gu, m[$e] * p.scale); }
#end
    }
    if VG > $gu {
        let m = transpose(mat4x4<f32>(f[$gu * 4u], f[$gu * 4u + 1u], f[$gu * 4u + 2u], f[$gu * 4u + 3u]));
#repeat e 4
        if jg * 4u + $eu < p.n_k { dv_st4(to_v[$e] + $gu, m[$e]); }
#end
    }
#end
}
