function recording = open_recording (folder, layout)
  % Opens the samples: where they are, how they are written, and what a count means. Nothing is read.
  kinds = struct ("i", "int", "u", "uint", "f", "float");
  kind = layout.dtype(2);
  bytes = str2double (layout.dtype(3:end));
  if (! isfield (kinds, kind) || ! any (bytes == [1, 2, 4, 8]))
    error ("samples of type %s are not known", layout.dtype);
  endif
  recording = layout;
  recording.path = fullfile (folder, layout.file);
  recording.bytes = bytes;
  recording.precision = sprintf ("%s%d=>double", kinds.(kind), 8 * bytes);
  recording.order = "ieee-le";
  if (layout.dtype(1) == ">")
    recording.order = "ieee-be";
  endif
  recording.channels = layout.channels(:)';
  recording.gains = layout.gains(:)';
  recording.offsets = layout.offsets(:)';
  recording.num_channels = numel (recording.channels);
  % One channel gives a row, and a list of one number a number.
  recording.locations = reshape (layout.locations, recording.num_channels, []);

  found = stat (recording.path);
  needed = layout.offset + bytes * layout.file_channels * layout.num_samples;
  if (isempty (found) || found.size < needed)
    error ("%s is missing or has fewer than %d bytes", recording.path, needed);
  endif
  recording.opened = struct ("inode", found.ino, "size", found.size);
endfunction
