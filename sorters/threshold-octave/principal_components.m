function features = principal_components (clips, count)
  % Gives the first principal components of clips (one a row).
  centred = clips - mean (clips, 1);
  [vectors, values] = eig (centred' * centred);
  [~, order] = sort (diag (values), "descend");
  vectors = vectors(:, order(1:min (count, numel (order))));
  % An eigenvector has no sign of its own.
  [~, largest] = max (abs (vectors), [], 1);
  vectors .*= sign (vectors(sub2ind (size (vectors), largest, 1:columns (vectors))));
  features = centred * vectors;
endfunction
