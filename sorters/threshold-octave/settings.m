function told = settings (parameters, seed)
  % Gives all that the sorter itself is told, names in alphabetical order.
  told = parameters;
  told.seed = seed;
  told = orderfields (told);
endfunction
