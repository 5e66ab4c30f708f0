function write_firings (path, times, labels, channels)
  % Writes an MDA file: 3 x events of float64 (channel, time, label), in order of time and label.
  firings = sortrows ([channels(:), times(:), labels(:)], [2, 3]);
  file = fopen (path, "w", "ieee-le");
  fwrite (file, [-7, 8, 2, 3, rows(firings)], "int32");
  fwrite (file, firings', "float64");
  if (fclose (file) != 0)
    error ("%s cannot be written", path);
  endif
endfunction
