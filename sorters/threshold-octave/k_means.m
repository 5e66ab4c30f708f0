function labels = k_means (features, count, state)
  % Divides points (one a row) into at most so many clusters: the best of five starts by k-means++.
  best = Inf;
  labels = ones (rows (features), 1);
  for start = 1:5
    [centres, state] = first_centres (features, count, state);
    found = zeros (rows (features), 1);
    for step = 1:100
      [distances, nearest] = min (squared_distances (features, centres), [], 2);
      if (isequal (nearest, found))
        break;
      endif
      found = nearest;
      for at = 1:rows (centres)
        if (any (found == at))
          centres(at, :) = mean (features(found == at, :), 1);
        endif
      endfor
    endfor
    if (sum (distances) < best)
      best = sum (distances);
      labels = found;
    endif
  endfor
  [~, ~, labels] = unique (labels);
  labels = labels(:);
endfunction

function [centres, state] = first_centres (features, count, state)
  % The first is a point by chance, each other one by chance in proportion to its squared distance from those before.
  [number, state] = random_numbers (state, 1);
  centres = features(ceil (number * rows (features)), :);
  while (rows (centres) < count)
    distances = cumsum (min (squared_distances (features, centres), [], 2));
    if (distances(end) == 0)
      return;
    endif
    [number, state] = random_numbers (state, 1);
    centres(end + 1, :) = features(find (distances >= number * distances(end), 1), :);
  endwhile
endfunction

function distances = squared_distances (features, centres)
  distances = zeros (rows (features), rows (centres));
  for at = 1:rows (centres)
    distances(:, at) = sum ((features - centres(at, :)) .^ 2, 2);
  endfor
endfunction
