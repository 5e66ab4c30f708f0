function labels = merge_clusters (features, labels, valley)
  % Merges clusters until there is a valley between any two: the number of clusters is what is left.
  %
  % There is one where the density between two clusters falls below `valley` of the lower of their two peaks.
  count = max (labels);
  depth = zeros (count);
  for first = 1:count
    for second = first + 1:count
      depth(first, second) = valley_between (features(labels == first, :), features(labels == second, :));
    endfor
  endfor
  while (count > 1)
    [highest, at] = max (depth(:));
    if (highest < valley)
      break;
    endif
    [first, second] = ind2sub (size (depth), at);
    labels(labels == second) = first;
    depth(second, :) = 0;
    depth(:, second) = 0;
    count -= 1;
    for other = setdiff (unique (labels)', first)
      pair = sort ([first, other]);
      depth(pair(1), pair(2)) = valley_between (features(labels == pair(1), :), features(labels == pair(2), :));
    endfor
  endwhile
  [~, ~, labels] = unique (labels);
  labels = labels(:);
endfunction
