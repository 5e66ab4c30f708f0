function traces = read_block (recording, start, stop)
  % Reads the samples from start (the first is 0) to before stop: samples x channels, in uV.
  count = stop - start;
  file = fopen (recording.path, "r", recording.order);
  if (file < 0)
    error ("%s cannot be opened", recording.path);
  endif
  closing = onCleanup (@() fclose (file));
  if (recording.time_axis == 0)
    fseek (file, recording.offset + start * recording.file_channels * recording.bytes, SEEK_SET);
    block = fread (file, [recording.file_channels, count], recording.precision);
    traces = block(recording.channels + 1, :)';
  else
    traces = zeros (count, recording.num_channels);
    for at = 1:recording.num_channels
      before = recording.channels(at) * recording.num_samples + start;
      fseek (file, recording.offset + before * recording.bytes, SEEK_SET);
      traces(:, at) = fread (file, count, recording.precision);
    endfor
  endif
  traces = traces .* recording.gains + recording.offsets;
endfunction
