function noise = estimate_noise (recording, told)
  % Estimates each channel's noise in uV: the median absolute deviation, as a standard deviation, of at most 20 pieces of a
  % second, spread evenly over the recording.
  length = min (recording.num_samples, round (recording.sampling_frequency));
  pieces = min (20, floor (recording.num_samples / length));
  starts = round (linspace (0, recording.num_samples - length, pieces));
  found = zeros (pieces, recording.num_channels);
  for at = 1:pieces
    traces = filtered_block (recording, told, starts(at), starts(at) + length, 0);
    found(at, :) = median (abs (traces - median (traces, 1)), 1) / 0.6745;
  endfor
  noise = median (found, 1);
endfunction
