function found = valley_between (one, other)
  % Gives how deep the density of two clusters falls between them, on the line through their centres: its least value as a part
  % of the lower of its peaks on either side, 1 where there is no valley.
  line = mean (other, 1) - mean (one, 1);
  if (! any (line))
    found = 1;
    return;
  endif
  line = line' / norm (line);
  places = {one * line, other * line};
  % The width of the kernel is Silverman's, halfway between those of the two.
  widths = cellfun (@(x) max (std (x), eps) * numel (x) ^ -0.2, places);
  width = max (widths) / 2 + min (widths) / 2;
  ends = cellfun (@median, places);
  grid = linspace (ends(1) - width, ends(2) + width, 60);
  density = zeros (1, numel (grid));
  for at = 1:numel (grid)
    density(at) = sum (cellfun (@(x) sum (exp (-0.5 * ((x - grid(at)) / width) .^ 2)), places));
  endfor
  % The valley that leaves the higher of the lower peaks.
  left = cummax (density);
  right = fliplr (cummax (fliplr (density)));
  found = min (density ./ min (left, right));
endfunction
