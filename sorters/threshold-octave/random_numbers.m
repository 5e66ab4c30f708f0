function [numbers, state] = random_numbers (state, count)
  % Gives numbers between 0 and 1 by the generator of Park and Miller: the same from the same state, everywhere.
  numbers = zeros (count, 1);
  for at = 1:count
    state = mod (16807 * state, 2147483647);
    numbers(at) = state / 2147483647;
  endfor
endfunction
