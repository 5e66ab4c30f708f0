function recording = open_recording (folder, layout)
  % Opens the samples: where they are, how they are written, and what a count means. Nothing is read.
  recording = layout;
  recording.gains = layout.gains(:)';
  recording.offsets = layout.offsets(:)';
  recording.num_channels = numel (recording.gains);
  recording.num_samples = sum ([layout.parts.num_samples]);
  % One channel gives a row, and a list of one number a number.
  recording.locations = reshape (layout.locations, recording.num_channels, []);
  opened = arrayfun (@(part) open_part (folder, part), layout.parts);
  recording.parts = [opened.part];
  recording.opened = [opened.file];
endfunction

function opened = open_part (folder, part)
  % Opens a stretch of a file.
  kinds = struct ("i", "int", "u", "uint", "f", "float");
  kind = part.dtype(2);
  bytes = str2double (part.dtype(3:end));
  if (! isfield (kinds, kind) || ! any (bytes == [1, 2, 4, 8]))
    error ("samples of type %s are not known", part.dtype);
  endif
  part.path = fullfile (folder, part.file);
  part.bytes = bytes;
  part.precision = sprintf ("%s%d=>double", kinds.(kind), 8 * bytes);
  part.order = "ieee-le";
  if (part.dtype(1) == ">")
    part.order = "ieee-be";
  endif
  part.channels = part.channels(:)';

  found = stat (part.path);
  needed = part.offset + bytes * part.file_channels * part.file_samples;
  if (isempty (found) || found.size < needed)
    error ("%s is missing or has fewer than %d bytes", part.path, needed);
  endif
  opened = struct ("part", part, "file", struct ("inode", found.ino, "size", found.size));
endfunction
