function traces = read_block (recording, start, stop)
  % Reads the samples from start (the first is 0) to before stop, across the parts: samples x channels, in uV.
  traces = zeros (stop - start, recording.num_channels);
  before = 0;
  for part = recording.parts(:)'
    first = max (start, before);
    last = min (stop, before + part.num_samples);
    if (first < last)
      from = part.start + first - before;
      traces(first - start + 1:last - start, :) = read_part (part, from, last - first);
    endif
    before += part.num_samples;
  endfor
  traces = traces .* recording.gains + recording.offsets;
endfunction

function traces = read_part (part, start, count)
  % Reads so many samples of a file: samples x channels, in counts.
  file = fopen (part.path, "r", part.order);
  if (file < 0)
    error ("%s cannot be opened", part.path);
  endif
  closing = onCleanup (@() fclose (file));
  if (part.time_axis == 0)
    fseek (file, part.offset + start * part.file_channels * part.bytes, SEEK_SET);
    block = fread (file, [part.file_channels, count], part.precision);
    traces = block(part.channels + 1, :)';
  else
    traces = zeros (count, numel (part.channels));
    for at = 1:numel (part.channels)
      before = part.channels(at) * part.file_samples + start;
      fseek (file, part.offset + before * part.bytes, SEEK_SET);
      traces(:, at) = fread (file, count, part.precision);
    endfor
  endif
endfunction
