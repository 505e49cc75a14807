{# No two rows have the same values in `columns`; nulls are equal. #}
{% test unique_together(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as rows_with_them
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
