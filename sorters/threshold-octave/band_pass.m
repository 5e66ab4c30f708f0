function filtered = band_pass (traces, frequency, freq_min, freq_max)
  % Filters forwards and backwards: a Butterworth high-pass of order 2, then a low-pass where it is below Nyquist.
  filtered = both_ways (traces, section (freq_min / frequency, "high"));
  if (freq_max < frequency / 2)
    filtered = both_ways (filtered, section (freq_max / frequency, "low"));
  endif
endfunction

function coefficients = section (edge, kind)
  % Gives the bilinear transform of a Butterworth filter of order 2; the edge is in cycles a sample.
  k = tan (pi * edge);
  scale = 1 + sqrt (2) * k + k ^ 2;
  a = [1, 2 * (k ^ 2 - 1) / scale, (1 - sqrt (2) * k + k ^ 2) / scale];
  if (strcmp (kind, "high"))
    b = [1, -2, 1] / scale;
  else
    b = [1, 2, 1] * k ^ 2 / scale;
  endif
  coefficients = struct ("a", a, "b", b);
endfunction

function filtered = both_ways (traces, coefficients)
  % The first sample is taken off, and put back through the filter's gain for a constant: no step at the edge.
  still = sum (coefficients.b) / sum (coefficients.a);
  filtered = traces;
  for way = 1:2
    first = filtered(1, :);
    filtered = filter (coefficients.b, coefficients.a, filtered - first) + still * first;
    filtered = flipud (filtered);
  endfor
endfunction
