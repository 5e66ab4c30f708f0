function [times, channels, heights] = find_peaks (traces, noise, told, margin)
  % Finds the extremes beyond the threshold inside the margins; times from 1, from the first sample after the margin.
  inside = margin + 1:rows (traces) - margin;
  if (told.detect_sign == 0)
    traces = abs (traces);
  else
    traces = told.detect_sign * traces;
  endif
  at = traces(inside, :);
  is_peak = at > traces(inside - 1, :) & at >= traces(inside + 1, :) & at > told.detect_threshold * noise;
  % A channel without noise is dead.
  is_peak(:, noise == 0) = false;
  [times, channels] = find (is_peak);
  times = times(:);
  channels = channels(:);
  heights = at(sub2ind (size (at), times, channels)) ./ noise(channels)(:);
endfunction
