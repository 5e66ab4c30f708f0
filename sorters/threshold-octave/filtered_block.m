function traces = filtered_block (recording, told, start, stop, margin)
  % Gives filtered samples from start - margin to before stop + margin, zeros where the recording has none.
  frequency = recording.sampling_frequency;
  % So much more is read that the filter has forgotten where it began.
  settled = ceil (3 * frequency / told.freq_min) + margin;
  first = max (0, start - settled);
  last = min (recording.num_samples, stop + settled);
  block = band_pass (read_block (recording, first, last), frequency, told.freq_min, told.freq_max);
  traces = zeros (stop - start + 2 * margin, recording.num_channels);
  from = max (first, start - margin);
  to = min (last, stop + margin);
  traces(from - start + margin + 1:to - start + margin, :) = block(from - first + 1:to - first, :);
endfunction
